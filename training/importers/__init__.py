"""Logs of coding agents to turns: `pointsman import`. One file per client; `README.md` beside this file explains."""
