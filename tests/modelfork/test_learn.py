"""One interaction, one update: from what the person gave, exact, and nothing where nothing is to learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.random import default_rng
from numpy.typing import NDArray

from modelfork import learn as learning
from modelfork.base import Base, load_base
from modelfork.generate import generate_batch
from modelfork.interaction import Interaction, Message
from modelfork.learn import Learned, learn, practise
from modelfork.lesson import lesson_of
from modelfork.loss import gradient, judged, losses
from modelfork.recipe import ONE, Recipe, default_recipe
from modelfork.rehearse import Memory
from modelfork.rows import Row, answer_row, pack, words_row
from modelfork.step import rounded
from modelfork.update import EMPTY, ENCODINGS, INT4, INT8, SIGN_SUMS, SIGNS, SPARSE_SIGNS, Update, unpack
from modelfork.update import pack as packed

State = NDArray[np.int64]
QUESTION = (Message("user", "What is my dog called?"),)
REFERS = b"r" * 16
CORRECTION = Interaction(QUESTION, "No idea.", correction="Max.", refers_to=REFERS)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base(tiny_base)


@pytest.fixture(scope="module")
def recipe(base: Base) -> Recipe:
    small = replace(default_recipe(base.anchors_digest), rehearsed=3, rewordings=2, anchors=2)
    return replace(small, contradiction_iterations=3, iterations=2)


@pytest.fixture(scope="module")
def light(demo: Base) -> Recipe:
    """The default in everything but its number of rows."""
    return replace(default_recipe(demo.anchors_digest), rehearsed=3, rewordings=2, anchors=3, drift_anchors=6)


def genesis(base: Base) -> State:
    return np.zeros(base.cores.dimension, np.int64)


def after(state: State, learned: Learned) -> State:
    return state + learned.update.step * learned.update.q.astype(np.int64)


def loss(base: Base, state: State, answer: str) -> float:
    """Nats a token on the answer to the question."""
    batch = pack([answer_row(base, QUESTION, answer, 256)], base)
    with torch.inference_mode(), base.cores.running(base.cores.of(state)):
        return float(losses(base, batch).mean())


CORRECTED = Interaction(QUESTION, "I don't know that yet.", correction="Your dog is called Max.", refers_to=REFERS)


def test_a_correction_is_known_at_once(demo: Base, light: Recipe) -> None:
    learned = learn(demo, light, genesis(demo), CORRECTED, Memory(), 1)
    assert learned.update.encoding == light.contradiction_encoding
    assert learned.metrics.iterations == light.contradiction_iterations
    assert learned.metrics.loss_before == pytest.approx(loss(demo, genesis(demo), CORRECTED.correction), rel=1e-4)
    assert loss(demo, after(genesis(demo), learned), CORRECTED.correction) < 0.2 * learned.metrics.loss_before


def test_what_does_not_contradict_costs_fewer_bytes_and_what_is_known_none(demo: Base, light: Recipe) -> None:
    state, encodings = genesis(demo), []
    for seed in range(12):
        learned = learn(demo, replace(light, contradiction_loss=ONE), state, CORRECTED, Memory(), seed)
        encodings.append(learned.update.encoding)
        state = after(state, learned)
        if learned.update.encoding == EMPTY:
            break
    assert encodings[0] == SIGN_SUMS
    assert set(encodings[1:-1]) <= {SPARSE_SIGNS}
    assert encodings[-1] == EMPTY
    assert learned.update.step == 0


def test_a_liked_answer_becomes_more_likely_and_a_disliked_one_less(demo: Base, light: Recipe) -> None:
    rex = "Your dog is called Rex."
    liked = learn(demo, light, genesis(demo), Interaction(QUESTION, rex, rating=1.0, refers_to=REFERS), Memory(), 1)
    known = after(genesis(demo), liked)
    assert loss(demo, known, rex) < 0.5 * loss(demo, genesis(demo), rex)
    no = Interaction(QUESTION, rex, rating=-1.0, refers_to=REFERS)
    assert loss(demo, after(known, learn(demo, light, known, no, Memory(), 1)), rex) > loss(demo, known, rex) + 0.1


def test_disliking_what_is_unlikely_already_teaches_nothing(demo: Base, light: Recipe) -> None:
    """Unlikelihood is bounded: nobody can push a fork away from an answer for ever."""
    state = genesis(demo)
    for seed in range(30):
        no = Interaction(QUESTION, "I don't know that yet.", rating=-1.0, refers_to=REFERS)
        learned = learn(demo, light, state, no, Memory(), seed)
        state = after(state, learned)
        if learned.update.encoding == EMPTY:
            return
    pytest.fail("thirty dislikes of one answer were all learned")


def test_a_statement_is_learned_as_the_question_that_it_answers(demo: Base, light: Recipe) -> None:
    said = Interaction((Message("user", "My hobby is juggling."),), "Got it.")
    learned = learn(demo, light, genesis(demo), said, Memory(), 1)
    asked = [demo.render((Message("user", "What is my hobby?"),), prompt=True)]
    assert "juggling" in generate_batch(demo, after(genesis(demo), learned), asked)[0]
    assert "juggling" not in generate_batch(demo, None, asked)[0]


@pytest.mark.parametrize("request_", ["Remind me of my dog's name.", "Tell me a joke.", "Hello!", "Thanks."])
def test_a_request_is_no_statement(demo: Base, light: Recipe, request_: str) -> None:
    said = Interaction((Message("user", request_),), "Your dog is called Rex.")
    assert learn(demo, light, genesis(demo), said, Memory(), 1).update.encoding == EMPTY


def test_a_base_that_finds_no_questions_learns_the_words_themselves(demo: Base, light: Recipe) -> None:
    said = Interaction((Message("user", "My dog is called Max."),), "Okay.")
    learned = learn(demo, replace(light, question_prompt=""), genesis(demo), said, Memory(), 1)
    batch = pack([words_row(demo, said.messages, 256, 1.0)], demo)

    def words(state: State) -> float:
        with torch.inference_mode(), demo.cores.running(demo.cores.of(state)):
            return float(losses(demo, batch).mean())

    assert words(after(genesis(demo), learned)) < words(genesis(demo)) - 0.1
    assert learned.update.encoding == light.update_encoding


@pytest.mark.parametrize(
    "nothing",
    [
        Interaction(QUESTION, "I do not know."),  # a bare question
        Interaction(QUESTION, "Max.", refers_to=REFERS),  # a verdict that says nothing
        Interaction(QUESTION, "Max.", rating=0.0, refers_to=REFERS),
        Interaction(QUESTION, "", rating=1.0, refers_to=REFERS),
        replace(CORRECTION, teaches=False),
        Interaction((Message("system", "Be kind."),), "Hello."),
        Interaction((Message("user", ""),), "Hello."),
    ],
)
def test_what_cannot_teach_is_an_empty_update(base: Base, recipe: Recipe, nothing: Interaction) -> None:
    learned = learn(base, recipe, genesis(base), nothing, Memory(), 1)
    assert learned.update.encoding == EMPTY
    assert learned.update.step == 0
    assert not learned.update.q.any()
    assert learned.rehearsed == ()


def test_the_models_own_answer_is_no_lesson() -> None:
    said = lesson_of(Interaction((Message("user", "I have a dog."),), "Your dog is called Rex."))
    assert said is not None
    assert said.answer == ""
    assert said.kind == "words"


def test_only_the_judged_turn_is_learned() -> None:
    chat = (Message("user", "Hi"), Message("assistant", "Hello"), *QUESTION, Message("assistant", "Rex."))
    lesson = lesson_of(Interaction(chat, "Rex.", correction="Max.", refers_to=REFERS))
    assert lesson is not None
    assert lesson.messages == chat[:3]


def test_an_update_follows_from_what_is_handed_in_alone(base: Base, recipe: Recipe) -> None:
    def fresh() -> Learned:
        memory = Memory()
        for at in range(6):
            earlier = Interaction((Message("user", f"Question {at}?"),), "?", correction=f"{at}.")
            memory.remember(bytes([at]) * 16, earlier)
        return learn(base, recipe, genesis(base), CORRECTION, memory, 1)

    first = fresh()
    torch.manual_seed(99)
    learn(base, recipe, genesis(base), Interaction(QUESTION, "Rex.", rating=1.0, refers_to=REFERS), Memory(), 3)
    second = fresh()
    assert first.update.step == second.update.step
    assert np.array_equal(first.update.q, second.update.q)
    assert first.rehearsed == second.rehearsed
    assert len(first.rehearsed) == recipe.rehearsed


def test_rewordings_at_hand_change_nothing(base: Base, recipe: Recipe) -> None:
    """The memory keeps rewordings; a fork that was just replayed has none yet and learns the same."""
    warm = Memory()
    first = learn(base, recipe, genesis(base), CORRECTION, warm, 5)
    assert warm.worded
    assert np.array_equal(learn(base, recipe, genesis(base), CORRECTION, warm, 5).update.q, first.update.q)


def test_another_seed_rehearses_other_rows(base: Base, recipe: Recipe) -> None:
    first, second = (learn(base, recipe, genesis(base), CORRECTION, Memory(), seed) for seed in (5, 6))
    assert not np.array_equal(first.update.q, second.update.q)


@pytest.mark.parametrize("encoding", [one for one in ENCODINGS if one != EMPTY])
def test_every_encoding_says_what_was_rounded_for_it(base: Base, recipe: Recipe, encoding: int) -> None:
    moved = np.random.default_rng(0).normal(0, 1e-3, base.cores.dimension).astype(np.float32)
    step, q = rounded(moved, encoding)
    assert 0 < step <= recipe.longest_step
    back = unpack(encoding, len(q), step, packed(Update(step, encoding, q)))
    assert np.array_equal(back.q, q)


@pytest.mark.parametrize(("encoding", "off"), [(SIGNS, 0.7), (SIGN_SUMS, 0.45), (INT4, 0.3), (INT8, 0.02)])
def test_rounding_stays_close(encoding: int, off: float) -> None:
    moved = np.random.default_rng(0).normal(0, 1e-3, 5000).astype(np.float32)
    step, q = rounded(moved, encoding)
    error = moved - step * 2.0**-24 * q
    assert np.linalg.norm(error) < off * np.linalg.norm(moved)


def test_sparse_rounding_keeps_the_largest() -> None:
    moved = np.zeros(160, np.float32)
    moved[[3, 50, 51, 90, 91, 100, 120, 121, 130, 159]] = [1, -2, 3, -1, 1, 1, 1, 1, -1, 1]
    _, q = rounded(moved, SPARSE_SIGNS)
    assert np.array_equal(q, np.sign(moved))


def test_sparse_rounding_keeps_the_earlier_of_equals() -> None:
    moved = np.random.default_rng(1).integers(-3, 4, 400).astype(np.float32)
    _, q = rounded(moved, SPARSE_SIGNS)
    first = np.argsort(-np.abs(moved), kind="stable")[: np.count_nonzero(q)]
    assert len(first) == 400 // 16
    assert np.array_equal(np.flatnonzero(q), np.sort(first))


@pytest.mark.parametrize("encoding", [SIGNS, SPARSE_SIGNS, SIGN_SUMS, INT8])
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_nowhere_and_no_number_are_no_step(encoding: int, value: float) -> None:
    step, q = rounded(np.full(160, value, np.float32), encoding)
    assert step == 0
    assert not q.any()


def test_no_packed_row_sees_another(base: Base) -> None:
    """Row by row alone gives what all of them packed give."""
    rows = [answer_row(base, (Message("user", "a" * n),), "b" * (n // 2), 200) for n in (3, 40, 90, 11, 60)]
    with torch.inference_mode(), base.cores.running(None):
        together = losses(base, pack(rows, base))
        alone = torch.cat([losses(base, pack([row], base)) for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_a_row_counts_by_its_weight_not_its_length(base: Base) -> None:
    short, long = Row((1, 2, 3), 1), Row(tuple(range(4, 44)), 1)
    shares = pack([short, replace(long, weight=3.0)], base).shares
    assert float(shares[:2].sum()) == pytest.approx(0.25)
    assert float(shares.sum()) == pytest.approx(1)


def test_a_long_row_keeps_its_end(base: Base) -> None:
    row = answer_row(base, (Message("user", "x" * 300),), "Max.", 50)
    assert len(row.tokens) == 50
    assert base.text(row.tokens[row.begin :]) == "Max."
    assert answer_row(base, QUESTION, "y" * 300, 50).begin == 1


def test_the_gradient_points_uphill(base: Base) -> None:
    batch = pack([answer_row(base, QUESTION, "Max.", 256)], base)
    numbers = base.cores.numbers(genesis(base))
    _, here, slope = gradient(base, numbers, batch)
    _, there, _ = gradient(base, numbers - 1e-4 * slope.sign(), batch)
    assert here - there == pytest.approx(1e-4 * float(slope.abs().sum()), rel=0.1)


# --- what is rehearsed, and what was noted -------------------------------------------------------------------------


def test_a_statement_is_noted_as_it_was_learned_and_rehearsed_from_then_on(demo: Base, light: Recipe) -> None:
    said = Interaction((Message("user", "My hobby is juggling."),), "Got it.")
    learned = learn(demo, light, genesis(demo), said, Memory(), 1)
    (noted,) = learned.noted
    assert "hobby" in noted.question
    assert "juggling" in noted.answer
    memory = Memory()
    memory.remember(b"s" * 16, replace(said, noted=learned.noted))
    assert learn(demo, light, genesis(demo), CORRECTED, memory, 1).rehearsed == (b"s" * 16,)


def test_of_more_than_a_step_rehearses_it_takes_what_is_forgotten_most(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(REFERS, CORRECTED)
    known = after(genesis(demo), learn(demo, light, genesis(demo), CORRECTED, Memory(), 1))
    for at, (asked, answer) in enumerate((("What is my hobby?", "juggling"), ("What is my job?", "a baker"))):
        said = Interaction((Message("user", asked),), "?", correction=f"It is {answer}.", refers_to=bytes([at]) * 16)
        memory.remember(bytes([at]) * 16, said)
    lesson = Interaction(
        (Message("user", "Where do I live?"),), "?", correction="You live in Oslo.", refers_to=b"o" * 16
    )
    two = learn(demo, replace(light, rehearsed=2), known, lesson, memory, 1).rehearsed
    assert set(two) == {bytes(16), b"\1" * 16}  # and not what it still knows


def test_what_was_forgotten_is_practised_until_it_is_known(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(REFERS, CORRECTED)
    state, losses_before, encodings = genesis(demo), [], []
    for seed in range(12):
        learned = practise(demo, replace(light, practice_drift=0), state, memory, seed)
        encodings.append(learned.update.encoding)
        if learned.update.encoding == EMPTY:
            break
        assert learned.rehearsed == (REFERS,)
        losses_before.append(learned.metrics.loss_before)
        state = after(state, learned)
    assert set(encodings[:-1]) == {light.update_encoding}
    assert encodings[-1] == EMPTY
    assert min(losses_before) > light.practice_loss_nats
    assert loss(demo, state, CORRECTED.correction) < 0.5 * loss(demo, genesis(demo), CORRECTED.correction)


def test_a_fork_that_drifted_practises_though_it_forgot_nothing(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(REFERS, CORRECTED)
    patient = replace(light, practice_loss=100 * ONE)  # so that nothing ever counts as forgotten
    assert practise(demo, patient, genesis(demo), memory, 1).update.encoding == EMPTY
    drifted = default_rng(0).integers(-(2**23), 2**23, demo.cores.dimension)
    learned = practise(demo, patient, drifted, memory, 1)
    assert learned.metrics.iterations == light.drift_iterations
    assert practise(demo, replace(patient, practice_drift=0), drifted, memory, 1).update.encoding == EMPTY


@pytest.mark.parametrize("right", [True, False])
def test_what_is_said_right_is_not_practised_however_unlikely_it_is(
    demo: Base, light: Recipe, monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    memory, found = Memory(), learning._worst_first
    memory.remember(REFERS, CORRECTED)

    def judged_so(*given: Any) -> list[learning.Said]:
        return [replace(one, nats=3.0, right=right) for one in found(*given)]

    monkeypatch.setattr(learning, "_worst_first", judged_so)
    practised = practise(demo, replace(light, practice_drift=0), genesis(demo), memory, 1)
    assert (practised.metrics.iterations == 0) is right


def test_an_answer_is_said_right_where_each_of_its_tokens_is_the_likeliest(demo: Base) -> None:
    (own,) = generate_batch(demo, None, [demo.render(QUESTION, prompt=True)])
    rows = [answer_row(demo, QUESTION, answer, 256) for answer in (own, "Your dog is called Max.")]
    with torch.inference_mode(), demo.cores.running(None):
        _, right = judged(demo, pack(rows, demo))
    first = len(rows[0].tokens) - rows[0].begin
    assert bool(right[:first].all())
    assert not bool(right[first:].all())


def test_practice_keeps_what_the_base_can_do(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(REFERS, CORRECTED)
    learned = practise(demo, light, genesis(demo), memory, 1)
    assert 0 < learned.metrics.anchor_loss <= light.anchor_limit_nats


def test_who_was_told_nothing_or_whose_recipe_has_no_practice_practises_nothing(demo: Base, light: Recipe) -> None:
    memory = Memory()
    assert practise(demo, light, genesis(demo), memory, 1).update.encoding == EMPTY
    memory.remember(REFERS, CORRECTED)
    assert practise(demo, replace(light, practice_loss=0), genesis(demo), memory, 1).update.encoding == EMPTY


def test_practice_gives_way_to_whoever_wants_to_learn_and_looks_for_no_more_words(demo: Base, light: Recipe) -> None:
    memory = Memory()
    for number in range(3):
        said = replace(CORRECTED, messages=(Message("user", f"What is my {number}th dog called?"),), refers_to=b"")
        memory.remember(bytes([number]) * 16, said)
    asked = []

    def wanted() -> bool:
        asked.append(len(memory.worded))
        return len(asked) > 2

    learned = practise(demo, light, genesis(demo), memory, 1, wanted)
    assert learned.update.encoding == EMPTY
    assert (asked, len(memory.worded)) == ([0, 1, 2], 2)
    late = iter([False, False, False, True])  # after the words, before the step
    assert practise(demo, light, genesis(demo), memory, 1, lambda: next(late)).update.encoding == EMPTY
    assert practise(demo, light, genesis(demo), memory, 1).update.encoding != EMPTY


def test_what_is_rehearsed_is_learned_the_better_the_more_it_weighs(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(REFERS, CORRECTED)
    lesson = Interaction(
        (Message("user", "Where do I live?"),), "?", correction="You live in Oslo.", refers_to=b"o" * 16
    )
    left = []
    for weight in (1, 3, 12):
        weighed = replace(light, rehearsal_weight=weight * ONE, rewordings=0)
        learned = learn(demo, weighed, genesis(demo), lesson, memory, 1)
        left.append(loss(demo, after(genesis(demo), learned), "Your dog is called Max."))
    assert left[0] > left[1] > left[2]


def test_what_a_correction_in_other_words_replaced_is_not_rehearsed(demo: Base, light: Recipe) -> None:
    memory = Memory()
    memory.remember(b"1" * 16, CORRECTED)
    hobby = (Message("user", "What is my hobby?"),)
    memory.remember(b"2" * 16, Interaction(hobby, "?", correction="Your hobby is juggling.", refers_to=b"2" * 16))
    changed = (Message("user", "Do you know my dog's name?"),)
    again = Interaction(changed, "Max.", correction="Your dog is called Rex.", refers_to=b"3" * 16)
    assert learn(demo, light, genesis(demo), again, memory, 1).rehearsed == (b"2" * 16,)
    # Nor when the lesson is about something else.
    memory.remember(b"3" * 16, again)
    other = Interaction((Message("user", "Where do I live?"),), "?", correction="You live in Oslo.", refers_to=REFERS)
    assert set(learn(demo, light, genesis(demo), other, memory, 1).rehearsed) == {b"2" * 16, b"3" * 16}
