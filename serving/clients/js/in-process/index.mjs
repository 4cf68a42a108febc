import inProcess from "./index.cjs";

export const { PackError, Router } = inProcess;
