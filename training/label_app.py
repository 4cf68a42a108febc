"""The terminal labeller: what was said before, and the prompt below it, on the left; the guide on the side; one key for
each label.

The prompt has a place of its own, since the messages before it are often longer than the window.
"""

from typing import ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.events import Key
from textual.widgets import Footer, Markdown, Static

from pointsman.classifier.assessment import Assessment
from pointsman.classifier.labels import HEADS, Head

from .guide import as_list, section_of
from .labelling import Item, Labelling

#: One key for each label of a head.
KEYS: Final[dict[Head, dict[str, str]]] = {
    "category": {
        "d": "debugging",
        "m": "migration",
        "s": "security",
        "i": "infrastructure",
        "r": "refactoring",
        "f": "feature",
        "c": "scaffolding",
        "u": "ui",
        "t": "tests",
        "w": "docs",
        "v": "review",
        "a": "analysis",
        "o": "operation",
        "x": "other",
    },
    "risk": {"l": "low", "m": "medium", "h": "high"},
    "scope": {"f": "file", "m": "multi", "r": "repo"},
    "turn": {"n": "new", "f": "follow", "c": "correct"},
}


class LabelApp(App[int]):
    """Labels one queue; returns how many turns were labelled. What is typed is the first letter beside a label."""

    TITLE = "pointsman label"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #turn { width: 3fr; }
    #before { height: 1fr; padding: 0 1; }
    #asked { height: auto; max-height: 60%; border-top: solid $primary; padding: 0 1; }
    #guide { width: 2fr; border-left: solid $primary; padding: 0 1; }
    #guide.hidden { display: none; }
    VerticalScroll:focus { background: $boost; }
    #heads { height: auto; border-top: solid $primary; padding: 0 1; }
    #status { height: auto; padding: 0 1; color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "skip", "skip", priority=True),
        Binding("backspace", "back", "back"),
        Binding("ctrl+z", "undo", "undo turn"),
        Binding("question_mark", "guess", "model's guess", key_display="?"),
        Binding("f1", "guide", "guide"),
        Binding("tab", "app.focus_next", "next pane"),
        Binding("ctrl+q", "leave", "save and quit", priority=True),
    ]

    def __init__(self, labelling: Labelling) -> None:
        super().__init__()
        self.labelling = labelling
        self._guided: Head | None = None

    def compose(self) -> ComposeResult:
        with Horizontal():
            with Vertical(id="turn"):
                with VerticalScroll(id="before"):
                    yield Static(id="context", markup=False)
                with VerticalScroll(id="asked"):
                    yield Static(id="prompt", markup=False)
            with VerticalScroll(id="guide"):
                yield Markdown(id="section")
        yield Static(id="heads", markup=False)
        yield Static(id="status", markup=False)
        yield Footer()

    async def on_mount(self) -> None:
        self.query_one("#asked").focus()
        await self._show(is_new_turn=True)

    async def on_key(self, event: Key) -> None:
        """Take a letter as the label of the present head."""
        label = KEYS[self.labelling.head].get(event.character or "")
        if label is None or self.labelling.item is None:
            return
        event.stop()
        is_new_turn = self.labelling.choose(label)
        await self._show(is_new_turn=is_new_turn)

    async def action_back(self) -> None:
        self.labelling.back()
        await self._show()

    async def action_skip(self) -> None:
        self.labelling.skip()
        await self._show(is_new_turn=True)

    async def action_undo(self) -> None:
        if not self.labelling.undo():
            self.bell()
        await self._show(is_new_turn=True)

    async def action_guess(self) -> None:
        self.labelling.guess_seen = True
        await self._show()

    def action_guide(self) -> None:
        self.query_one("#guide").toggle_class("hidden")

    def action_leave(self) -> None:
        self.exit(self.labelling.n_labelled)

    async def _show(self, *, is_new_turn: bool = False) -> None:
        state = self.labelling
        self.query_one("#context", Static).update(_context_text(state.item))
        self.query_one("#prompt", Static).update(_prompt_text(state.item))
        if is_new_turn:
            # The last message is the one that a prompt answers.
            self.query_one("#before", VerticalScroll).scroll_end(animate=False)
            self.query_one("#asked", VerticalScroll).scroll_home(animate=False)
        self.query_one("#heads", Static).update(_heads_text(state))
        self.query_one("#status", Static).update(_status_text(state))
        if is_new_turn or self._guided is not state.head:
            self._guided = state.head
            await self.query_one("#section", Markdown).update(as_list(section_of(state.head)))
            self.query_one("#guide", VerticalScroll).scroll_home(animate=False)


def _context_text(item: Item | None) -> Text:
    """Show what was said before. Nothing in it is markup."""
    text = Text()
    for message in item.context if item is not None else ():
        text.append(f"{message.role}: ", style="bold dim")
        text.append(f"{message.text.strip()}\n\n", style="dim")
    text.rstrip()
    return text


def _prompt_text(item: Item | None) -> Text:
    if item is None:
        return Text("The queue is empty: every turn of it is labelled or skipped. Ctrl+Q ends.")
    return Text.assemble(("prompt: ", "bold"), item.prompt)


def _heads_text(state: Labelling) -> Text:
    text = Text()
    for head in HEADS:
        is_present = head == state.head and state.item is not None
        text.append(f"{'>' if is_present else ' '} {head:<9}", style="bold" if is_present else "")
        if head in state.chosen:
            text.append(state.chosen[head], style="green")
        elif is_present:
            text.append("  ".join(f"{key} {label}" for key, label in KEYS[head].items()))
        text.append("\n")
    if state.guess_seen and state.item is not None and state.item.guess is not None:
        text.append(f"  the model's guess: {_guess_text(state.item.guess)}")
    return text


def _status_text(state: Labelling) -> str:
    shown = f"{state.n_labelled} labelled, {len(state.items) - state.place} in the queue"
    if state.item is not None:
        shown += f"; another model with p = {state.item.change_probability:.2f}, worth {state.item.value_usd:.3f} USD"
    if state.last is not None and state.last.guess is not None:
        shown += f"\nthe model took the last one for {_guess_text(state.last.guess)}"
    return shown


def _guess_text(guess: Assessment) -> str:
    results = (getattr(guess, head) for head in HEADS)
    return ", ".join(f"{result.label} {result.probability:.2f}" for result in results)
