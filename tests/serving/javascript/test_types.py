"""What TypeScript is told: types made from the OpenAPI document, and a package that compiles both ways."""

import re
import subprocess

import pytest

from ..gateways.processes import ROOT, tool
from .conftest import SOURCE

pytestmark = pytest.mark.timeout(700)

USE = """
import { Client, FAILURES, type Choice, type Decision } from "pointsman-client";
import { PackError, Router } from "pointsman-client/in-process";
import type { components } from "pointsman-client/openapi";

const client = new Client({ safeModel: "claude-opus-5-5", key: "psm_0_0", models: { "claude-haiku-5-5": "mine" } });
export const asked: Promise<Choice> = client.decide({ prompt: "hello" }, { headers: { "session-id": "s" } });
export const told: Promise<string> = client.feedback("d", "success", { cost_usd: 0.5 });
export const made = Router.load("pack", { threads: 2 }).then((router) => router.decide({ prompt: "hello" }));
export const model: Promise<string> = made.then((decision: Decision) => decision.risk?.label ?? decision.model);
export const feedback: components["schemas"]["FeedbackRequest"]["outcome"] = "corrected";
export const causes: readonly string[] = FAILURES;
export const failed = (error: unknown): boolean => error instanceof PackError;
"""
MISTAKES = (
    "new Client({});",
    'new Client({ safeModel: "a" }).feedback("d", "splendid");',
    'new Client({ safeModel: "a" }).feedback("d", "success", { cost_usd: "much" });',
    'Router.load("pack").then((router) => router.decide({}));',
)


def compiled(project, libraries, name, code):
    (project / name).write_text(code)
    options = ("--noEmit", "--strict", "--target", "es2022", "--module", "node16", "--types", "node")
    command = [tool("node"), str(libraries / "typescript" / "bin" / "tsc"), *options, name]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120)
    return done.stdout + done.stderr


def test_types_are_those_of_the_openapi_document(libraries, tmp_path):
    made = tmp_path / "openapi.d.ts"
    generator = libraries / "openapi-typescript" / "bin" / "cli.js"
    document = ROOT / "serving" / "openapi.json"
    subprocess.run(
        [tool("node"), str(generator), str(document), "-o", str(made)], check=True, capture_output=True, timeout=120
    )
    assert made.read_text() == (SOURCE / "openapi.d.ts").read_text(), "the API changed; run: make openapi"


@pytest.mark.parametrize("name", ["use.mts", "use.cts"])
def test_package_compiles(project, libraries, name):
    assert compiled(project, libraries, name, USE) == ""


def test_mistakes_do_not_compile(project, libraries):
    imports = 'import { Client } from "pointsman-client"; import { Router } from "pointsman-client/in-process";'
    problems = compiled(project, libraries, "wrong.mts", "\n".join((imports, *MISTAKES)))
    assert re.findall(r"^wrong\.mts\((\d+),", problems, flags=re.M) == ["2", "3", "4", "5"], problems
