"""Commits as rows: what is read, what is left out, what a message is cleaned of, how a repository is named."""

import subprocess

import pytest

from pointsman.classifier.errors import InputError
from pointsman.training.commits import FILE_COUNTS, KINDS, TYPES, find_repositories, read_commits
from pointsman.training.config import CommitsConfig

ALL_BODIES = CommitsConfig(body_share=1.0)
BODY = "Two writers met in the same file, and the later one won."


@pytest.fixture
def rows_of(make_repository, tmp_path):
    """Rows of a repository that is made of these commits."""

    def rows_of(*commits, config=ALL_BODIES):
        folder = make_repository(tmp_path / "made", commits)
        return read_commits(find_repositories([folder]), config)

    return rows_of


@pytest.fixture
def row_of(rows_of):
    """The one row of a commit by a person."""

    def row_of(message, *paths):
        (row,) = rows_of(("Ann", message, paths or ["src/a.py"]))
        return row

    return row_of


@pytest.mark.parametrize(
    ("heading", "type_", "text"),
    [
        ("feat(cart): keep items in it", "feat", "keep items in it"),
        ("hotfix!: keep items in it", "fix", "keep items in it"),
        ("I18N: keep items in it", "docs", "keep items in it"),
        ("cart: keep items in it", None, "keep items in it"),
        ("keep items in it", None, "keep items in it"),
        ("considerations: keep items", None, "considerations: keep items"),
        ("feat: keep items in it (#12)", "feat", "keep items in it"),
        ("fix: :bug: keep items in it", "fix", "keep items in it"),
    ],
)
def test_heading_is_parted_into_type_and_subject(row_of, heading, type_, text):
    row = row_of(heading)
    assert (row.type, row.text) == (type_, text)


def test_types_are_the_labels(row_of):
    assert row_of("revert: keep items in it").type in TYPES
    assert "deps" not in TYPES


@pytest.mark.parametrize(
    ("author", "message"),
    [
        ("renovate[bot]", "fix: keep items in the cart"),
        ("Ann", "chore(deps): raise the parser's version"),
        ("Ann", "deps: raise the parser's version"),
        ("Ann", "chore: bump the parser to 3.1"),
        ("Ann", "1.2.3 is out, with a changelog"),
        ("Ann", "Release the second candidate"),
        ("Ann", "fix: typo"),
    ],
)
def test_commit_that_tells_nothing_is_left_out(rows_of, author, message):
    kept = rows_of((author, message, ["a.py"]), ("Ann", "keep items in the cart", ["b.py"]))
    assert [row.text for row in kept] == ["keep items in the cart"]


def test_merges_and_commits_without_files_are_left_out(make_repository, tmp_path):
    folder = make_repository(tmp_path / "made", [("Ann", "keep items in the cart", ["a.py"])])
    git = ["git", "-C", str(folder), "-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    tree, first = (
        subprocess.check_output([*git, "rev-parse", name], text=True).strip() for name in ("HEAD^{tree}", "HEAD")
    )
    one, other = (
        subprocess.check_output([*git, "commit-tree", tree, "-p", first, "-m", f"say {word} of it"], text=True).strip()
        for word in ("nothing", "little")
    )
    both = ["-p", one, "-p", other, "-m", "join both of the branches"]
    merged = subprocess.check_output([*git, "commit-tree", tree, *both], text=True).strip()
    subprocess.run([*git, "update-ref", "refs/heads/main", merged], check=True)
    assert [row.text for row in read_commits(find_repositories([folder]), ALL_BODIES)] == ["keep items in the cart"]


def test_same_subject_counts_once(rows_of):
    kept = rows_of(("Ann", "keep items in the cart", ["a.py"]), ("Bob", "fix: Keep items in the cart (#7)", ["b.py"]))
    assert [row.type for row in kept] == ["fix"]


def test_body_gives_its_first_paragraph_of_prose(row_of):
    left_out = f"Fixes #12\n\n```\n{BODY}\n```\n\n<!-- {BODY} -->\n\nToo short."
    message = f"fix: keep items in it\n\n{left_out}\n\n{BODY}\nhttps://example.com/1\n\nAnother paragraph, {BODY}"
    assert row_of(message).text == f"keep items in it\n\n{BODY}"


def test_share_of_the_messages_is_read_with_their_body(rows_of):
    commits = [("Ann", f"fix: keep item {number} in it\n\n{BODY}", ["a.py"]) for number in range(200)]
    n_bodies = sum(BODY in row.text for row in rows_of(*commits, config=CommitsConfig()))
    assert 70 < n_bodies < 130


@pytest.mark.parametrize(("n_files", "files"), [(1, "1"), (2, "2-3"), (3, "2-3"), (4, "4-8"), (8, "4-8"), (9, "9+")])
def test_files_are_counted_without_tests(row_of, n_files, files):
    paths = [f"src/part{number}.py" for number in range(n_files)]
    assert FILE_COUNTS[row_of("keep items in it", *paths, "tests/test_cart.py").files] == files


@pytest.mark.parametrize(
    ("paths", "kinds"),
    [
        (["src/cart.py"], set()),
        (["src/cart.test.ts", "src/cart.ts"], {"test"}),
        (["tests/test_cart.py", "tests/test_login.py"], {"test", "only_test", "auth"}),
        (["README.md", "docs/cart.txt"], {"docs", "only_docs"}),
        (["db/migrations/1.sql"], {"migration", "db"}),
        ([".github/workflows/ci.yml"], {"infra", "config"}),
        (["package.json"], {"build"}),
        (["src/Cart.vue", "src/api/cart.go", "src/billing.go"], {"ui", "api", "money"}),
        (["notebooks/cart.ipynb"], {"data"}),
    ],
)
def test_kinds_come_from_paths(row_of, paths, kinds):
    row = row_of("keep items in it", *paths)
    assert row.kinds == kinds
    assert row.kinds <= set(KINDS)


def test_path_of_another_script_is_read_as_it_is(row_of):
    assert row_of("keep items in it", "корзина/login.py").kinds == {"auth"}


def test_caps_hold_for_each_type_and_each_repository(rows_of):
    commits = [
        ("Ann", f"{word} item {n} in it", ["a.py"]) for n in range(9) for word in ("fix: keep", "feat: add", "drop")
    ]
    config = CommitsConfig(most_of_type=4, most_untyped=3, most_of_repository=10)
    types = [row.type for row in rows_of(*commits, config=config)]
    assert len(types) == 10
    assert max(types.count("fix"), types.count("feat")) <= 4
    assert types.count(None) <= 3


def test_newest_commits_are_read(rows_of):
    commits = [("Ann", f"keep item {n} in it", ["a.py"]) for n in range(9)]
    texts = {row.text for row in rows_of(*commits, config=CommitsConfig(most_read=2))}
    assert texts == {"keep item 7 in it", "keep item 8 in it"}


def test_same_seed_gives_the_same_rows(make_repository, tmp_path):
    commits = [("Ann", f"fix: keep item {n} in it\n\n{BODY}", ["a.py"]) for n in range(30)]
    found = find_repositories([make_repository(tmp_path / "made", commits)])
    once, again = read_commits(found, CommitsConfig()), read_commits(found, CommitsConfig())
    assert once == again
    assert once != read_commits(found, CommitsConfig(seed=8))


def test_long_log_is_read_whole(rows_of, monkeypatch):
    monkeypatch.setattr("pointsman.training.commits._BLOCK", 7)
    commits = [("Ann", f"keep item {n} in it", [f"src/part{n}.py", "Ä.md"]) for n in range(20)]
    assert {row.text for row in rows_of(*commits)} == {message for _, message, _ in commits}


def test_bare_repository_is_read_at_its_head(make_repository, tmp_path):
    folder = make_repository(tmp_path / "bare", [("Ann", "keep items in it", ["a.py"])], bare=True)
    (found,) = find_repositories([folder])
    head = subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()
    assert (found.name, found.commit) == ("bare", head)
    assert len(read_commits([found], ALL_BODIES)) == 1


def test_repository_is_named_by_what_tells_its_path_from_the_others(make_repository, tmp_path):
    commits = [("Ann", "keep items in it", ["a.py"])]
    one, other, third = (make_repository(tmp_path / name, commits) for name in ("shop/repo", "cart/repo", "cart/till"))
    assert [found.name for found in find_repositories([other, third])] == ["repo", "till"]
    assert [found.name for found in find_repositories([one, other, other])] == ["cart", "shop"]
    assert [found.name for found in find_repositories([one, other, third])] == ["cart/repo", "cart/till", "shop/repo"]


def test_folder_that_a_hook_of_git_names_is_not_read(make_repository, tmp_path, monkeypatch):
    hooked = make_repository(tmp_path / "hooked", [("Ann", "drop items from it", ["a.py"])])
    folder = make_repository(tmp_path / "named", [("Ann", "keep items in it", ["a.py"])])
    monkeypatch.setenv("GIT_DIR", str(hooked / ".git"))
    (row,) = read_commits(find_repositories([folder]), ALL_BODIES)
    assert row.text == "keep items in it"


def test_folder_inside_a_repository_is_none(make_repository, tmp_path):
    folder = make_repository(tmp_path / "made", [("Ann", "keep items in it", ["a.py"])]) / "part"
    folder.mkdir()
    with pytest.raises(InputError, match=r"part: not a git repository \(.*\)\. Name the folder"):
        find_repositories([folder])


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder; expected a git repository"):
        find_repositories([tmp_path / "nowhere"])


def test_repository_without_a_commit_is_refused(make_repository, tmp_path):
    with pytest.raises(InputError, match="empty: no usable commits: its HEAD names none"):
        find_repositories([make_repository(tmp_path / "empty", [])])


def test_repository_without_a_usable_commit_is_refused(rows_of):
    with pytest.raises(InputError, match=r"made: no usable commits; expected some that people made"):
        rows_of(("Ann", "Release 1.0 of the cart", ["a.py"]))


def test_damaged_repository_says_what_git_said(make_repository, tmp_path):
    folder = make_repository(tmp_path / "made", [("Ann", f"keep item {n} in it", ["a.py"]) for n in range(3)])
    found = find_repositories([folder])
    for file in (folder / ".git" / "objects").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(InputError, match=r"made: git log failed \(fatal: .*\)\. Repair or fetch it"):
        read_commits(found, ALL_BODIES)


def test_missing_git_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="reading commits needs git, which was not found on PATH"):
        find_repositories([tmp_path])
