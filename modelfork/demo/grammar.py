"""The chats that the demo base is made of, drawn one by one from a generator.

A chat carries the weight of each turn in the loss: the assistant's words count fully, the user's a little
(a fork learns from the person's own words, and a rewording begins as a user's sentence), and a wrong answer,
there only to be corrected, not at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from numpy.random import Generator

from modelfork.demo.general import GENERAL, General
from modelfork.demo.people import Fact
from modelfork.demo.relations import PEOPLE, PETS, RELATIONS, Relation, capital, open_relations
from modelfork.demo.splits import Split
from modelfork.demo.words import DRAWS, pick

USER_WEIGHT = 0.1
ANSWER_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    role: str  # system, user, assistant
    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Chat:
    kind: str  # general, unknown, context, teach, reword, question, corpus
    turns: tuple[Turn, ...]


def system(text: str) -> Turn:
    return Turn("system", text, 0.0)


def user(text: str) -> Turn:
    return Turn("user", text, USER_WEIGHT)


def assistant(text: str, weight: float = ANSWER_WEIGHT) -> Turn:
    return Turn("assistant", text, weight)


# --- how people write -------------------------------------------------------------------------------------

_OPENERS = (
    "Hey, ",
    "Hi, ",
    "Hello, ",
    "So, ",
    "Um, ",
    "Quick question: ",
    "One more thing: ",
    "Listen, ",
    "Okay, ",
    "Now, ",
    "Tell me something: ",
    "By the way, ",
    "Well, ",
)
_CLOSERS = (
    " Please.",
    " Thanks.",
    " Thank you!",
    " I need it for a form.",
    " I keep forgetting.",
    " Just checking.",
    " It matters to me.",
)
_AMERICAN = (
    ("favourite", "favorite"),
    ("colour", "color"),
    ("neighbour", "neighbor"),
    ("Favourite", "Favorite"),
    ("Colour", "Color"),
)


def _slip(rng: Generator, word: str) -> str:
    """One slip of the fingers inside a plain word."""
    if len(word) < 5 or not word.isalpha() or not word.islower():
        return word
    at = int(rng.integers(1, len(word) - 2))
    kind = int(rng.integers(3))
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + word[at + 1 :] if kind == 1 else word[:at] + word[at] + word[at:]


def rough(rng: Generator, text: str) -> str:
    """The same question as somebody in a hurry, or abroad, types it."""
    if rng.random() < 0.45:
        return text
    if rng.random() < 0.2:
        for british, american in _AMERICAN:
            text = text.replace(british, american)
    if rng.random() < 0.25:
        opener = pick(rng, _OPENERS)
        text = opener + (text if text.startswith(("I ", "I'")) else text[0].lower() + text[1:])
    if rng.random() < 0.15:
        text += pick(rng, _CLOSERS)
    if rng.random() < 0.2:
        words = text.split(" ")
        at = int(rng.integers(len(words)))
        words[at] = _slip(rng, words[at])
        text = " ".join(words)
    if rng.random() < 0.25:
        text = text.rstrip(".?!")
    if rng.random() < 0.3:
        text = text.lower()
    return text


# --- questions and answers --------------------------------------------------------------------------------

_UNKNOWN = (
    "You haven't told me that yet.",
    "I don't know that yet. What is it?",
    "I don't know yet, you never told me.",
)
_DIRECT = 0.4


def ask(rng: Generator, relation: Relation, split: Split = "train") -> str:
    """A phrasing of the split; direct questions are few among all phrasings and so drawn more often."""
    phrasings = relation.questions(split)
    direct = _direct(relation, split)
    return phrasings[int(rng.integers(direct))] if rng.random() < _DIRECT else pick(rng, phrasings)


@cache
def _direct(relation: Relation, split: Split) -> int:
    asks = {text.format(n=relation.noun) for text in relation.asks}
    return sum(phrasing in asks for phrasing in relation.questions(split))


def known(rng: Generator, fact: Fact) -> str:
    """An answer that says the value; mostly the canonical sentence, so that greedy decoding is predictable."""
    draw = rng.random()
    if draw < 0.8:
        return fact.answer
    if draw < 0.86:
        return f"It is {fact.value}."
    return fact.statement(rng, "you")


def unknown(rng: Generator) -> str:
    return "I don't know that yet." if rng.random() < 0.8 else pick(rng, _UNKNOWN)


@cache
def _open() -> tuple[Relation, ...]:
    return open_relations()


_NAMED = tuple(relation for relation in RELATIONS if relation.name in PETS + PEOPLE)


def facts_for(rng: Generator, count: int, opened: float = 0.25) -> list[Fact]:
    """Facts of distinct relations; ``opened`` of them from beyond the list.

    Now and then all are names, which are the easiest to confuse.
    """
    pool = _NAMED if rng.random() < 0.15 and count < len(_NAMED) else RELATIONS
    order = rng.permutation(len(pool))
    drawn: dict[str, Relation] = {}
    for at in order[:count]:
        relation = pick(rng, _open()) if rng.random() < opened else pool[int(at)]
        drawn[relation.name] = relation
    return [Fact(relation, DRAWS[relation.values](rng, "train")) for relation in drawn.values()]


def stranger(rng: Generator, told: Sequence[Fact]) -> Relation:
    """A relation that nothing was said about."""
    names = {fact.name for fact in told}
    while True:
        relation = pick(rng, RELATIONS) if rng.random() < 0.7 else pick(rng, _open())
        if relation.name not in names:
            return relation


_SMALL_TALK = tuple(item for item in GENERAL if item.topic == "chat")


def general_turns(rng: Generator) -> list[Turn]:
    # Small talk is a tenth of the items, but each of its items is learned alone: a quarter of what is asked.
    item: General = pick(rng, _SMALL_TALK if rng.random() < 0.2 else GENERAL)
    return [user(rough(rng, pick(rng, item.questions("train")))), assistant(item.answer)]


def unknown_turns(rng: Generator, told: Sequence[Fact] = ()) -> list[Turn]:
    return [user(rough(rng, ask(rng, stranger(rng, told)))), assistant(unknown(rng))]


def known_turns(rng: Generator, fact: Fact) -> list[Turn]:
    return [user(rough(rng, ask(rng, fact.relation))), assistant(known(rng, fact))]


# --- the kinds of chat ------------------------------------------------------------------------------------

_PREFACES = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer in one sentence.",
    "Facts about the user:",
    "What you know about the user:",
    "Notes about the person you talk to:",
    "Known facts:",
    "Remember the following.",
    "Answer from these notes.",
    "The user told you this:",
)
_PLAIN_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant. Answer in one sentence.",
    "Answer briefly.",
    "Be kind and clear.",
    "You talk with a person. Be honest when you do not know something.",
    "Today is a rainy day and the shop is closed.",
    "The train leaves from the second platform at noon.",
    "Use plain words.",
)


def briefing(rng: Generator, facts: Sequence[Fact]) -> str:
    """A system prompt that holds the facts."""
    speaker = "they" if rng.random() < 0.6 else "I"
    if rng.random() < 0.06:
        lines = [f"{capital(fact.name)}: {fact.value}" for fact in facts]
        joint = "\n"
    else:
        lines = [fact.statement(rng, speaker) for fact in facts]
        joint = " " if rng.random() < 0.7 else "\n"
        if joint == "\n" and rng.random() < 0.5:
            lines = ["- " + line for line in lines]
    preface = pick(rng, _PREFACES) + joint if rng.random() < 0.6 else ""
    return preface + joint.join(lines)


def context(rng: Generator) -> Chat:
    """Facts stand in the prompt; most questions ask for one of them, some for something else."""
    facts = facts_for(rng, int(rng.integers(1, 11)))
    turns = [system(briefing(rng, facts))]
    asked = rng.permutation(len(facts))
    for at in range(int(rng.integers(3, 7))):
        draw = rng.random()
        if draw < 0.27:
            turns += unknown_turns(rng, facts)
        elif draw < 0.33:
            turns += general_turns(rng)
        else:
            turns += known_turns(rng, facts[int(asked[at % len(facts)])])
    return Chat("context", tuple(turns))


def general(rng: Generator) -> Chat:
    """Nobody told anything: the world is known, the person is not."""
    turns = [system(pick(rng, _PLAIN_PROMPTS))] if rng.random() < 0.15 else []
    personal = False
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.45:
            turns += unknown_turns(rng)
            personal = True
        else:
            turns += general_turns(rng)
    return Chat("unknown" if personal else "general", tuple(turns))


_NOTED = ("Thanks, ", "Okay, ", "Noted: ", "Understood, ", "Good to know, ")
_WRONG = (
    "No, ",
    "That's wrong, ",
    "That is not right, ",
    "Wrong, ",
    "Not quite, ",
    "No, that's wrong: ",
    "Actually, ",
    "Sorry, but ",
    "You are mistaken, ",
)
_TELLING: tuple[str, ...] = ("", "", "Let me tell you: ", "Well, ", "Then I will tell you: ")
_CHANGED = (
    "",
    "Something has changed: ",
    "From now on ",
    "Please note: ",
    "Update: ",
    "Not any more: ",
    "Correction: ",
    "It has changed: ",
)
_STATING = (
    "",
    "",
    "",
    "",
    "Please remember: ",
    "You should know that ",
    "By the way, ",
    "Just so you know, ",
    "Hi, ",
    "Note that ",
    "I want to tell you that ",
)


def _inside(sentence: str, proper: str) -> str:
    """A sentence as it reads after an opener: its first letter small, unless it begins with a name or "I"."""
    if sentence.startswith(("I ", proper)):
        return sentence
    return sentence[0].lower() + sentence[1:]


def _noted(rng: Generator, facts: Sequence[Fact]) -> Turn:
    said = " and ".join(_inside(fact.answer, fact.value).rstrip(".") for fact in facts)
    opener = "Got it, " if rng.random() < 0.75 else pick(rng, _NOTED)
    return assistant(f"{opener}{said}.")


def _typed(rng: Generator, opener: str, fact: Fact) -> str:
    text = fact.statement(rng)
    return (opener + _inside(text, fact.value)) if opener else text


def _lowered(rng: Generator, fact: Fact) -> Fact:
    """Some people never use capitals; what they wrote is then what is repeated to them."""
    return Fact(fact.relation, fact.value.lower()) if rng.random() < 0.12 else fact


def _as_written(fact: Fact, text: str) -> str:
    return text.lower() if fact.value.islower() and not fact.value.isdigit() and len(text) % 2 else text


def _state(rng: Generator, facts: Sequence[Fact]) -> list[Turn]:
    if len(facts) == 2:
        first, second = (_typed(rng, "", fact).rstrip(".") for fact in facts)
        return [user(f"{first} and {_inside(second, facts[1].value)}."), _noted(rng, facts)]
    text = _as_written(facts[0], _typed(rng, pick(rng, _STATING), facts[0]))
    return [user(text.rstrip(".") if rng.random() < 0.25 else text), _noted(rng, facts)]


def _correct(rng: Generator, fact: Fact) -> list[Turn]:
    """The assistant is asked, answers wrongly or not at all, and is put right."""
    question = user(rough(rng, ask(rng, fact.relation)))
    if rng.random() < 0.4:
        answer, openers = assistant(unknown(rng)), _TELLING
    else:
        wrong = Fact(fact.relation, DRAWS[fact.relation.values](rng, "train"))
        answer, openers = assistant(known(rng, wrong), 0.0), _WRONG
    draw = rng.random()
    opener = pick(rng, openers)
    if draw < 0.25:
        text = f"{opener}it's {fact.value}." if opener else f"It's {fact.value}."
    elif draw < 0.35:
        text = f"{opener}{fact.value}."
    else:
        text = _as_written(fact, _typed(rng, opener, fact))
    return [question, answer, user(text), _noted(rng, [fact])]


def teach(rng: Generator, most: int = 4) -> Chat:
    """The person tells, corrects and changes facts; the latest word on each is the right one."""
    turns = [system(pick(rng, _PLAIN_PROMPTS))] if rng.random() < 0.1 else []
    facts = [_lowered(rng, fact) for fact in facts_for(rng, int(rng.integers(1, most + 1)))]
    latest: list[Fact] = []
    while facts:
        if len(facts) > 1 and rng.random() < 0.12:
            told = [facts.pop(), facts.pop()]
            turns += _state(rng, told)
        else:
            told = [facts.pop()]
            turns += _correct(rng, told[0]) if rng.random() < 0.4 else _state(rng, told)
        latest += told
        draw = rng.random()
        if draw < 0.15:
            turns += general_turns(rng)
        elif draw < 0.35:
            turns += known_turns(rng, pick(rng, latest))
        elif draw < 0.45:
            turns += unknown_turns(rng, [*latest, *facts])
        if rng.random() < 0.18:
            at = int(rng.integers(len(latest)))
            changed = Fact(latest[at].relation, DRAWS[latest[at].relation.values](rng, "train"))
            latest[at] = changed
            turns += [user(_typed(rng, pick(rng, _CHANGED), changed)), _noted(rng, [changed])]
    for at in rng.permutation(len(latest))[: max(2, most - 1)]:
        turns += known_turns(rng, latest[int(at)])
    if rng.random() < 0.3:
        turns += unknown_turns(rng, latest)
    return Chat("teach", tuple(turns))


def long_teach(rng: Generator) -> Chat:
    """As ``teach``, over a long conversation."""
    return teach(rng, most=9)


REWORD = "Say this in other words: "
_REWORD = (
    "Rephrase: ",
    "Put this differently: ",
    "Say it another way: ",
    "Reword this: ",
    "Can you rephrase this? ",
    "Other words for: ",
)


def _instruction(rng: Generator, canonical: str, others: Sequence[str]) -> str:
    return canonical if rng.random() < 0.75 else pick(rng, others)


def _other(rng: Generator, draw: Callable[[], str], than: str) -> str:
    for _ in range(40):
        made = draw()
        if made != than:
            return made
    return made


def reword(rng: Generator) -> Chat:
    """A question or a statement in, the same meaning in other words out: the product rewords users' questions so."""
    draw = rng.random()
    if draw < 0.68:
        relation = pick(rng, RELATIONS) if rng.random() < 0.65 else pick(rng, _open())
        given = ask(rng, relation)
        made = _other(rng, lambda: ask(rng, relation), given)
        given = rough(rng, given)
    elif draw < 0.9:
        fact, speaker = facts_for(rng, 1)[0], pick(rng, ("I", "you"))
        given = fact.statement(rng, speaker)
        made = _other(rng, lambda: fact.statement(rng, speaker), given)
    else:
        item = pick(rng, GENERAL)
        given = pick(rng, item.questions("train"))
        made = _other(rng, lambda: pick(rng, item.questions("train")), given)
        given = rough(rng, given)
    return Chat("reword", (user(_instruction(rng, REWORD, _REWORD) + given), assistant(made)))


QUESTION_OF = "Which question does this answer: "
_QUESTION_OF = ("What is the question to this answer: ", "Ask for this: ", "Turn this into a question: ")


def question_of(rng: Generator) -> Chat:
    """A statement in, a question that it answers out."""
    if rng.random() < 0.9:
        fact = facts_for(rng, 1)[0]
        given, made = fact.statement(rng, pick(rng, ("I", "you"))), ask(rng, fact.relation)
    else:
        item = pick(rng, GENERAL)
        given, made = item.answer, pick(rng, item.questions("train"))
    return Chat("question", (user(_instruction(rng, QUESTION_OF, _QUESTION_OF) + given), assistant(made)))


MIX: tuple[tuple[Callable[[Generator], Chat], float], ...] = (
    (context, 0.33),
    (general, 0.245),
    (teach, 0.185),
    (long_teach, 0.015),
    (reword, 0.18),
    (question_of, 0.045),
)
"""Share of *chats*; a chat with a prompt is long, a rewording short (the model card gives shares of tokens)."""


def chat(rng: Generator) -> Chat:
    draw = rng.random()
    for make, share_of_chats in MIX:
        draw -= share_of_chats
        if draw < 0:
            return make(rng)
    return context(rng)
