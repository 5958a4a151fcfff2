"""What can be true of a person, and the many ways to ask for it and to say it.

A question is asked in three ways: directly (``asks``), or by a frame around a noun phrase (``Remind me
of {my dog's name}.``) or around a clause (``Do you know {what my dog is called}?``). Direct questions and
frames are split; a held-out question is a held-out direct one, or a held-out frame around any phrase.

A statement is written once and said by three speakers: ``{my}`` and ``{I}`` become the speaker's words and
``[have]`` is conjugated. The first statement of a relation is its canonical answer.
"""

import re
from dataclasses import dataclass
from functools import cache

from modelfork.demo.splits import Split, share

# Every frame has siblings in its list: a model this small knows "forgot" only by the company it keeps, so no word
# may stand in held-out frames alone.
NOUN_FRAMES = tuple(
    "Tell me {x}.|Please tell me {x}.|Can you tell me {x}?|Would you tell me {x}?|Could you tell me {x}?|Now tell me {x}.|Will you tell me {x}?"
    "|Remind me of {x}.|Please remind me of {x}.|Could you remind me of {x}?|Can you remind me of {x}?"
    "|{X}?|{X}, please.|{X}, what is it?|{X}, what was it?|What about {x}?|So what about {x}?|And {x}?"
    "|Do you know {x}?|Do you still know {x}?|Do you happen to know {x}?|Do you remember {x}?|Do you still remember {x}?|Can you remember {x}?|Can you recall {x}?|Do you recall {x}?"
    "|I forgot {x}.|I have forgotten {x}.|I forgot {x}, can you help?|I can't remember {x}.|I don't remember {x}.|I can't recall {x}.|I always forget {x}.|I am trying to remember {x}."
    "|What was {x} again?|What was {x}?|What is {x} again?|Give me {x}.|Please give me {x}.|Can you give me {x}?|Say {x}."
    "|I need to know {x}.|I need {x}.|I want to know {x}.|I want to hear {x}.|I would like to hear {x}.|I would like to know {x}.|I am looking for {x}.|I am searching for {x}.|I'm looking for {x}, do you know it?"
    "|Have you noted {x}?|Did you note {x}?|Help me remember {x}.|Help me with {x}.|Mind telling me {x}?|Would you mind telling me {x}?|Let me know {x}.|Let me hear {x}.".split(
        "|"
    )
)
CLAUSE_FRAMES = tuple(
    "Could you tell me {x}?|Can you tell me {x}?|Would you tell me {x}?|Will you tell me {x}?|Please tell me {x}.|Tell me {x}.|Now tell me {x}."
    "|Do you know {x}?|Do you still know {x}?|Would you happen to know {x}?|Do you happen to know {x}?|Do you remember {x}?|Do you still remember {x}?|Can you remember {x}?|Do you recall {x}?"
    "|I'd like to know {x}.|I want to know {x}.|I would like to know {x}.|I need to know {x}.|I want to hear {x}.|Remind me {x}.|Please remind me {x}.|Could you remind me {x}?"
    "|I wonder {x}.|I am wondering {x}.|I was wondering {x}.|Any idea {x}?|Have you any idea {x}?|Do you have any idea {x}?"
    "|I forgot {x}.|I have forgotten {x}.|I can't remember {x}.|I don't remember {x}.|I can't recall {x}.|I always forget {x}."
    "|May I ask {x}?|Can I ask {x}?|Are you able to say {x}?|Can you say {x}?|Could you say {x}?|Are you able to tell me {x}?|Let me know {x}.|Let me hear {x}.|Did you note {x}?|Have you noted {x}?".split(
        "|"
    )
)

_SPEAKERS = {"I": ("I", "my"), "you": ("you", "your"), "they": ("the user", "the user's")}
_FORMS = {
    "am": ("am", "are", "is"),
    "was": ("was", "were", "was"),
    "have": ("have", "have", "has"),
    "do": ("do", "do", "does"),
    "go": ("go", "go", "goes"),
}


def capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def articles(sentence: str) -> str:
    """ "a owl" becomes "an owl"; words with u are left alone, half of them sound like "you"."""
    return re.sub(r"\b([Aa]) (?=[aeioAEIO])", r"\1n ", sentence)


@dataclass(frozen=True, slots=True)
class Relation:
    name: str
    values: str  # a key of words.DRAWS
    noun: str  # what {n} stands for
    nouns: tuple[str, ...]
    clauses: tuple[str, ...]
    asks: tuple[str, ...]
    states: tuple[str, ...]

    def say(self, value: str, speaker: str = "I", form: int = 0) -> str:
        """One statement form, said by ``I``, ``you`` (the assistant about the user) or ``they`` (a system prompt)."""
        pronoun, possessive = _SPEAKERS[speaker]
        person = ("I", "you", "they").index(speaker)

        def conjugate(match: re.Match[str]) -> str:
            verb: str = match[1]
            forms: tuple[str, str, str] = _FORMS.get(verb, (verb, verb, verb + "s"))
            return forms[person]

        text = re.sub(r"\[(\w+)\]", conjugate, self.states[form % len(self.states)])
        return articles(capital(text.format(I=pronoun, my=possessive, n=self.noun, v=value))) + "."

    def questions(self, split: Split) -> tuple[str, ...]:
        return _questions(self, split)


@cache
def _questions(relation: Relation, split: Split) -> tuple[str, ...]:
    made = [ask.format(n=relation.noun) for ask in share(relation.asks, split)]
    for frames, inner in ((NOUN_FRAMES, relation.nouns), (CLAUSE_FRAMES, relation.clauses)):
        # Held-out frames stand around the first phrase only: a frame, not its filling, is what is new in them.
        for phrase in inner if split == "train" else inner[:1]:
            text = phrase.format(n=relation.noun)
            made += [frame.format(x=text, X=capital(text)) for frame in _frames(frames, split)]
    return tuple(made)


@cache
def _frames(frames: tuple[str, ...], split: Split) -> tuple[str, ...]:
    return share(frames, split, held_out=0.15)


def _named(noun: str, values: str) -> Relation:
    have = ("{I} [have] a {n} called {v}", "{I} [have] a {n} named {v}")
    return Relation(
        name=noun,
        values=values,
        noun=noun,
        nouns=("my {n}'s name", "the name of my {n}"),
        clauses=("what my {n} is called", "what my {n}'s name is"),
        asks=(
            "What is my {n} called?",
            "What's my {n}'s name?",
            "What is my {n}'s name?",
            "What is the name of my {n}?",
            "How is my {n} called?",
            "Which name does my {n} have?",
            "What name does my {n} have?",
            "My {n} is called what?",
            "By what name does my {n} go?",
            "What do I call my {n}?",
            "My {n}, what is the name?",
            "How do I call my {n}?",
            "Who is my {n}?",
            "What did I say my {n} is called?",
        ),
        states=(
            "{my} {n} is called {v}",
            "{my} {n}'s name is {v}",
            "the name of {my} {n} is {v}",
            "{v} is the name of {my} {n}",
            "{my} {n} is named {v}",
            "{v} is {my} {n}",
            *(have if noun not in ("mother", "boss") else ()),
        ),
    )


def _favourite(thing: str, values: str) -> Relation:
    return Relation(
        name=f"favourite {thing}",
        values=values,
        noun=thing,
        nouns=("my favourite {n}", "the {n} I like best"),
        clauses=("what my favourite {n} is", "which {n} I like best", "which {n} I like most"),
        asks=(
            "What is my favourite {n}?",
            "What's my favourite {n}?",
            "Which {n} is my favourite?",
            "Which {n} do I like best?",
            "What {n} do I like most?",
            "Which {n} do I prefer?",
            "My favourite {n} is what?",
            "What {n} do I love most?",
            "What would you say is my favourite {n}?",
            "Of all kinds of {n}, which one is my favourite?",
            "When it comes to {n}, what do I like best?",
            "What did I say my favourite {n} is?",
        ),
        states=(
            "{my} favourite {n} is {v}",
            "the {n} {I} [like] best is {v}",
            "{v} is {my} favourite {n}",
            "{I} [like] {v} more than any other {n}",
            "of all kinds of {n}, {I} [like] {v} best",
        ),
    )


def _plain(name: str, values: str, nouns: str, clauses: str, asks: str, states: str) -> Relation:
    """The remaining relations, each written out; alternatives are divided by ``|``."""

    def parts(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split("|"))

    return Relation(name, values, name, parts(nouns), parts(clauses), parts(asks), parts(states))


def open_relation(noun: str, values: str) -> Relation:
    """Any ``my <noun> is <value>``: people ask for more than a list can hold, so training sees many such nouns."""
    return Relation(
        name=noun,
        values=values,
        noun=noun,
        nouns=("my {n}",),
        clauses=("what my {n} is",),
        asks=(
            "What is my {n}?",
            "What's my {n}?",
            "Which one is my {n}?",
            "My {n} is what?",
            "What did I say my {n} is?",
            "What do you have as my {n}?",
            "What would my {n} be?",
            "What about my {n}, what is it?",
        ),
        states=("{my} {n} is {v}", "{v} is {my} {n}", "{I} [have] {v} as {my} {n}"),
    )


PETS = ("dog", "cat", "parrot", "rabbit")
PEOPLE = ("sister", "brother", "mother", "boss", "best friend", "neighbour")

RELATIONS: tuple[Relation, ...] = (
    *(_named(noun, "pet") for noun in PETS),
    *(_named(noun, "person") for noun in PEOPLE),
    _favourite("colour", "colour"),
    _favourite("food", "food"),
    _favourite("drink", "drink"),
    _favourite("film", "title"),
    _favourite("band", "title"),
    _favourite("book", "title"),
    _favourite("season", "season"),
    _favourite("sport", "sport"),
    _favourite("animal", "animal"),
    _plain(
        "own name",
        "person",
        "my name | my own name",
        "what my name is | what I am called | who I am",
        "What is my name? | What's my name? | Who am I? | How am I called? | What am I called? | My name is what? | What do people call me?"
        " | Which name do I have? | By what name do you know me? | What did I say my name is?",
        "{my} name is {v} | {I} [am] called {v} | {v} is {my} name | {I} [go] by the name of {v}",
    ),
    _plain(
        "home town",
        "town",
        "my home town | the town I live in | the place where I live",
        "where I live | which town I live in | what town is my home",
        "Where do I live? | Which town do I live in? | What town do I live in? | In which town do I live? | Where is my home? | What is my home town?"
        " | I live where? | Where did I say I live? | Which place do I call home? | What town is my home in?",
        "{I} [live] in {v} | {my} home is in {v} | {my} home town is {v} | {v} is where {I} [live] | the town {I} [live] in is {v}",
    ),
    _plain(
        "birth town",
        "town",
        "my birth town | the town I was born in | my place of birth",
        "where I was born | which town I was born in | what my place of birth is",
        "Where was I born? | Which town was I born in? | In which town was I born? | What is my place of birth? | What town was I born in?"
        " | I was born where? | What is my birth town? | In what place was I born? | Where did I come into the world? | Where did I say I was born?",
        "{I} [was] born in {v} | {my} place of birth is {v} | {v} is where {I} [was] born | {my} birth town is {v} | the town {I} [was] born in is {v}",
    ),
    _plain(
        "street",
        "street",
        "my street | the name of my street | the street I live on",
        "which street I live on | what my street is called | what street my house is on",
        "Which street do I live on? | What street do I live on? | What is my street called? | What's the name of my street? | On which street do I live?"
        " | What is my street? | On what street is my house? | My house is on which street? | Which street is my house on? | What did I say my street is called?",
        "{I} [live] on {v} | {my} street is {v} | {my} house is on {v} | {my} street is called {v} | {v} is the street {I} [live] on",
    ),
    _plain(
        "holiday place",
        "place",
        "my holiday place | the place I go to on holiday",
        "where I go on holiday | where I spend my holidays | what my holiday place is",
        "Where do I go on holiday? | Where do I spend my holidays? | What is my holiday place? | Which place do I go to on holiday? | Where do I travel for my holidays?"
        " | I go on holiday where? | What place do I visit on my holidays? | Where am I on holiday? | Where did I say I go on holiday? | To what place do I go for my holidays?",
        "{I} [go] on holiday to {v} | {I} [spend] {my} holidays in {v} | {my} holiday place is {v} | {v} is where {I} [go] on holiday",
    ),
    _plain(
        "job",
        "job",
        "my job | my profession | my line of work",
        "what my job is | what I do for a living | what I work as",
        "What is my job? | What's my job? | What do I do for a living? | What do I work as? | What is my profession? | Which job do I have? | What kind of work do I do?"
        " | My job is what? | What am I by profession? | How do I earn my money? | What did I say my job is?",
        "{I} [work] as a {v} | {my} job is {v} | {I} [am] a {v} | {my} profession is {v} | {I} [am] a {v} by profession",
    ),
    _plain(
        "employer",
        "firm",
        "my employer | the company I work for",
        "who I work for | which company I work for | who my employer is | where I work",
        "Who do I work for? | Which company do I work for? | Who is my employer? | What company do I work for? | Where do I work? | For whom do I work?"
        " | What is my employer called? | Which firm employs me? | At what company am I employed? | What did I say my employer is?",
        "{I} [work] for {v} | {I} [work] at {v} | {my} employer is {v} | the company {I} [work] for is {v} | {v} is {my} employer",
    ),
    _plain(
        "school",
        "school",
        "my school | the school I went to | the name of my school",
        "which school I went to | what my school is called | what my school was",
        "Which school did I go to? | What school did I go to? | What is my school called? | What was my school? | What is the name of my school? | Where did I go to school?"
        " | At which school was I? | Which school did I attend? | I went to which school? | What did I say my school is?",
        "{I} went to {v} | {my} school is called {v} | {my} school was {v} | the school {I} went to is {v} | {v} is {my} school",
    ),
    _plain(
        "hobby",
        "hobby",
        "my hobby | my favourite pastime",
        "what my hobby is | what I do in my free time | which hobby I have",
        "What is my hobby? | What's my hobby? | Which hobby do I have? | What do I do in my free time? | What hobby do I have? | How do I spend my free time?"
        " | My hobby is what? | What do I do for fun? | What do I like to do after work? | What did I say my hobby is?",
        "{my} hobby is {v} | in {my} free time {I} [enjoy] {v} | {I} [spend] {my} free time on {v} | {v} is {my} hobby | {I} [have] {v} as a hobby",
    ),
    _plain(
        "instrument",
        "instrument",
        "my instrument | the instrument I play",
        "which instrument I play | what instrument I play | what my instrument is",
        "Which instrument do I play? | What instrument do I play? | What is my instrument? | What do I play in the orchestra? | I play which instrument?"
        " | What kind of instrument do I play? | On which instrument do I make music? | What's my instrument? | Which musical instrument is mine? | What did I say I play?",
        "{I} [play] the {v} | {my} instrument is the {v} | the instrument {I} [play] is the {v} | the {v} is {my} instrument",
    ),
    _plain(
        "car",
        "car",
        "my car | the make of my car | the car I drive",
        "which car I drive | what car I drive | what make my car is",
        "Which car do I drive? | What car do I drive? | What is my car? | What make is my car? | What kind of car do I have? | Which car do I own?"
        " | I drive what car? | What sort of car is mine? | What's my car? | What did I say I drive?",
        "{I} [drive] a {v} | {my} car is a {v} | {I} [have] a car, a {v} | the car {I} [drive] is a {v} | a {v} is {my} car",
    ),
    _plain(
        "birthday month",
        "month",
        "the month of my birthday | my birthday month",
        "when my birthday is | in which month I was born | which month my birthday is in",
        "When is my birthday? | Which month is my birthday in? | In which month is my birthday? | What month was I born in? | In which month was I born? | What is my birthday month?"
        " | My birthday is in which month? | When do I celebrate my birthday? | What month do I have my birthday in? | When did I say my birthday is?",
        "{my} birthday is in {v} | {my} birthday month is {v} | {I} [celebrate] {my} birthday in {v} | the month of {my} birthday is {v}",
    ),
    _plain(
        "shoe size",
        "shoe",
        "my shoe size | the size of my shoes",
        "what my shoe size is | which shoe size I wear | what size my shoes are",
        "What is my shoe size? | What's my shoe size? | Which shoe size do I have? | What size are my shoes? | What size of shoes do I wear? | How big are my shoes?"
        " | What shoe size do I take? | My shoe size is what? | Which size of shoes should I buy? | What did I say my shoe size is?",
        "{my} shoe size is {v} | {I} [wear] shoes of size {v} | {my} shoes are size {v} | {I} [have] shoe size {v}",
    ),
    _plain(
        "allergy",
        "allergen",
        "my allergy | the thing I am allergic to",
        "what I am allergic to | what my allergy is | what I have an allergy to",
        "What am I allergic to? | What is my allergy? | Which allergy do I have? | What allergy do I have? | What do I have an allergy to? | I am allergic to what?"
        " | What's my allergy? | What makes me ill? | To what am I allergic? | What did I say I am allergic to?",
        "{I} [am] allergic to {v} | {my} allergy is to {v} | {I} [have] an allergy to {v}",
    ),
    _plain(
        "language",
        "language",
        "the language I am learning | my new language",
        "which language I am learning | what language I am learning | what language I study",
        "Which language am I learning? | What language am I learning? | Which language do I study? | What language do I take lessons in? | I am learning which language?"
        " | Which language am I trying to learn? | What new language do I learn? | What language is my course in? | What's the language I learn? | What did I say I am learning?",
        "{I} [am] learning {v} | {I} [study] {v} | the language {I} [am] learning is {v} | {I} [take] lessons in {v} | {v} is the language {I} [am] learning",
    ),
    _plain(
        "lucky number",
        "number",
        "my lucky number | the number that brings me luck",
        "what my lucky number is | which number brings me luck",
        "What is my lucky number? | What's my lucky number? | Which number is my lucky number? | Which number brings me luck? | What number brings me luck? | My lucky number is what?"
        " | Which number is lucky for me? | What number do I find lucky? | What number do I bet on? | What did I say my lucky number is?",
        "{my} lucky number is {v} | {v} is {my} lucky number | {I} [have] {v} as a lucky number",
    ),
)

_OWNERS = (
    "sister's|brother's|friend's|mother's|father's|uncle's|aunt's|son's|daughter's|boss's|cousin's|neighbour's|wife's|husband's|teacher's|doctor's|landlord's|team's"
).split("|")
_ATTRIBUTES = (
    "locker code:code|door code:code|flat number:code|bus number:code|room number:code|seat number:code|house number:code|bike lock code:code|membership number:code"
    "|laptop:invented|phone:invented|wifi name:invented|boat:title|bike:invented|favourite song:title|favourite game:title|favourite cake:food|favourite flower:invented"
    "|favourite poet:person|favourite shop:firm|favourite park:town|favourite team:town|favourite painter:person|favourite singer:person|middle name:person|nickname:pet"
    "|first pet:pet|tutor:person|coach:person|landlord:person|dentist:person|doctor:person|hairdresser:person|gym:firm|bank:firm|hotel:firm|church:school|university:school"
    "|team colour:colour|eye colour:colour|hair colour:colour|coat colour:colour|door colour:colour|bag:colour|breakfast:food|lunch:food|usual order:drink|evening drink:drink"
    "|first job:job|dream job:job|old school:school|native language:language|second language:language|next trip:place|dream country:place|wedding month:month|age:number"
    "|jersey number:number|desk number:number|project:title|password hint:title|club:town|office town:town|hat size:number|ring size:number|favourite singer's town:town|plant:invented"
).split("|")


def open_relations() -> tuple[Relation, ...]:
    """About a thousand relations beyond the list, for training only."""
    made = []
    for attribute in _ATTRIBUTES:
        noun, values = attribute.split(":")
        made += [open_relation(noun, values)] + [open_relation(f"{owner} {noun}", values) for owner in _OWNERS]
    return tuple(made)
