"""Conversations from a CSV: windows of whole turns, the held-back ones never trained on."""

from pathlib import Path

from numpy.random import default_rng

from modelfork.demo.corpus import conversations, window

HEADER = "user 1 personas,user 2 personas,Best Generated Conversation\n"


def _csv(folder: Path, count: int) -> Path:
    rows = "".join(
        f'"I bake.","I sail.\nI read.","User 1: Hi {number}!\nUser 2: Hello!\nUser 1: So?\nUser 2: I sail."\n'
        for number in range(count)
    )
    (folder / "talks.csv").write_text(HEADER + rows, encoding="utf-8")
    return folder / "talks.csv"


def test_a_conversation_is_in_one_split_only(tmp_path: Path) -> None:
    path = _csv(tmp_path, 200)
    trained, held_out = conversations(path, "train"), conversations(path, "held-out")
    assert len(trained) + len(held_out) == 200
    assert 0 < len(held_out) < 30
    assert not set(trained) & set(held_out)


def test_a_window_begins_with_the_first_speaker_and_names_the_second_ones_persona(tmp_path: Path) -> None:
    talks = conversations(_csv(tmp_path, 20), "train")
    rng = default_rng(1)
    for _ in range(50):
        turns = window(rng, talks).turns
        if turns[0].role == "system":
            assert turns[0].text == "I sail. I read."
            turns = turns[1:]
        assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)


def test_a_broken_line_ends_a_conversation(tmp_path: Path) -> None:
    path = tmp_path / "talks.csv"
    path.write_text(HEADER + '"a","b","User 1: Hi!\nUser 2: Yes?\nUser 2: Well?\nUser 1: So."\n"a","b","no turns"\n')
    every = conversations(path, "train") + conversations(path, "held-out")
    assert every == (("b", ("Hi!", "Yes?")),)
