"""A conversation read message by message gives what the classifier reads from the whole of it."""

from hypothesis import given
from hypothesis import strategies as st

from pointsman.classifier.request import read_request
from pointsman.training.importers.talk import Talk


class Plain:
    def clean(self, text):
        return text

    def learn_path(self, path):
        pass


_USER = st.sampled_from(
    ["Mend the roof", "yes", "<system-reminder>x</system-reminder>", "[Request interrupted by user]", ""]
)
_LONG = st.integers(1, 700).map(lambda n: "w" * n)
_MESSAGE = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, _USER | _LONG),
    st.builds(lambda text: {"role": "assistant", "content": text}, _LONG),
    st.just({"role": "assistant", "content": [{"type": "tool_use", "name": "Bash", "input": {}}]}),
    st.just({"role": "user", "content": [{"type": "tool_result", "content": "ok"}]}),
    st.just({"role": "user", "content": "This session is being continued from a previous conversation. Roofs."}),
)


@given(st.lists(_MESSAGE, max_size=30))
def test_windowed_turn_equals_the_turn_of_the_whole_request(messages):
    talk = Talk("s", Plain())
    for n, message in enumerate(messages, 1):
        before = talk.n_turns
        talk.said(message)
        if talk.n_turns > before:
            whole = read_request({"messages": messages[:n], "tools": [{"name": "Bash"}]})
            assert (talk.turn.prompt, talk.turn.context) == (whole.prompt, whole.context)


@given(st.lists(_MESSAGE, max_size=60))
def test_window_stays_small(messages):
    talk = Talk("s", Plain())
    for message in messages:
        talk.said(message)
    assert sum(len(text) for _, item in talk._window for text in item.texts) < 30_000


def test_every_turn_comes_back_once():
    talk = Talk("s", Plain())
    ended = [talk.said({"role": "user", "content": f"Task {n}"}) for n in range(4)]
    assert [turn.prompt for turn in [*ended[1:], talk.finish()]] == [f"Task {n}" for n in range(4)]
    assert talk.finish() is None
