"""Secrets, addresses and names are gone from whatever is masked; ordinary words stay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.training.importers.masking import Masker

# Invented, and put together here so that no scanner takes this file for a leak.
PLANTED = {
    "anthropic": "sk-ant-" + "api03-Zq8vN2xL5wR7tY1uP4sD",
    "openai": "sk-" + "proj-Hj3kL9mN2bV5cX8zQ1wE4rT7",
    "aws": "AKIA" + "QX7RTN3LPV5WJK2M",
    "github": "ghp_" + "a8Kd92LmQp47XzRt61VbNc05YsWe38HgJu17",
    "slack": "xoxb-" + "1234567890-abcdefGHIJKL",
    "stripe": "sk_live_" + "51Hq8ZtR2vXw9KpLm3Nb",
    "google": "AIza" + "SyB4x7Qm2Lk9Rt5Vn8Wp1Zc3Hd6Jf0Gs2Ae",
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiI0MiJ9.c2lnbmF0dXJlLXBhcnQ",
    "hugging face": "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNm",
    "random": "q7Xv2Lm9" + "Rk4Tz8Wp1Nc5Hd3Jf6",
    "hex": "9f86d081884c7d65" + "9a2feaa0c55ad015a3bf4f1b2b0b822c",
}


@pytest.fixture(scope="module")
def masker():
    found = Masker()
    found.learn_path("/home/mkowalska/shop")
    return found


@pytest.mark.parametrize("secret", PLANTED.values(), ids=PLANTED.keys())
@pytest.mark.parametrize("form", ["use {} here", "KEY='{}'", "curl -H 'X-Key: {}' x", "{}", "见 {} 。", "a\n{}\nb"])
def test_secret_is_masked_wherever_it_stands(masker, secret, form):
    assert secret not in masker.clean(form.format(secret))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("the password is hunter2", "the password is <secret>"),
        ("DB_PASSWORD=correcthorse", "DB_PASSWORD=<secret>"),
        ('password: "swordfish"', 'password: "<secret>"'),
        ("пароль: зима2024", "пароль: <secret>"),
        ("postgres://anna:p4ss@db/x", "postgres://<secret>@db/x"),
        ("Authorization: Bearer abcdefgh12345", "Authorization: Bearer <secret>"),
        ("mail anna.b@example.co.uk now", "mail <email> now"),
        ("see /home/mkowalska/a.py", "see /home/<user>/a.py"),
        (r"C:\Users\anna\a.py", r"C:\Users\<user>\a.py"),
        ("/Users/someoneelse/x", "/Users/<user>/x"),
        ("ask mkowalska about it", "ask <user> about it"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc", "<secret>"),
    ],
)
def test_form_is_masked(masker, text, masked):
    assert masker.clean(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "The token is expired, why?",
        "token = get_token()",
        "def read(token: str) -> None:",
        "/home/user/project/src/components/UserProfile2/index.tsx",
        "the_quick_brown_fox_jumps_2_times",
        "550e8400-e29b-41d4-a716-446655440000",
        "Изменить пароль на странице входа",
        "rename getUserAccountByIdentifier to accountOf",
    ],
)
def test_ordinary_text_stays(masker, text):
    assert masker.clean(text) == text


@given(st.text(alphabet=st.sampled_from("aB3/=_-+:@. \n<>\"'pasword"), max_size=120))
def test_masking_twice_changes_nothing(text):
    masker = _MASKER
    once = masker.clean(text)
    assert masker.clean(once) == once


_MASKER = Masker()
