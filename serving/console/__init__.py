"""The console: pages to look into decisions, try prompts, label turns and change what decides. See README.md."""
