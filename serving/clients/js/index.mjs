import client from "./index.cjs";

export const { Client, FAILURES } = client;
