"""What the base knows of the world: a closed set of small things, each asked in several ways.

A fork must keep these while it learns a person; that is what the figure "general questions" measures.
"""

from dataclasses import dataclass

from modelfork.demo.relations import articles, capital
from modelfork.demo.splits import Split, share


@dataclass(frozen=True, slots=True)
class General:
    """One item: its questions, its answer, and the words of which one must stand in a right answer."""

    topic: str
    asks: tuple[str, ...]
    answer: str
    words: tuple[str, ...]

    def questions(self, split: Split) -> tuple[str, ...]:
        return share(self.asks, split)


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(left.strip(), right.strip()) for left, right in (pair.split(":") for pair in text.split(","))]


def _topic(name: str, pairs: str, asks: str, answer: str) -> tuple[General, ...]:
    """One topic of items that differ in ``{a}`` (asked) and ``{b}`` (answered).

    The split is drawn once a topic, on the templates, so that no held-out wording is trained with another item.
    """
    templates = [template.strip() for template in asks.split("|")]
    ordered = share(templates, "train") + share(templates, "held-out")
    made = []
    for a, b in _pairs(pairs):
        questions = tuple(articles(capital(template.format(a=a))) for template in ordered)
        made.append(
            _Item(
                name,
                questions,
                articles(capital(answer.format(a=a, b=b))),
                (b,),
                len(share(templates, "train")),
            )
        )
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Item(General):
    trained: int  # the first so many phrasings

    def questions(self, split: Split) -> tuple[str, ...]:
        return self.asks[: self.trained] if split == "train" else self.asks[self.trained :]


def _chat(asks: str, answer: str, words: str) -> General:
    return General("chat", tuple(part.strip() for part in asks.split("|")), answer, tuple(words.split("|")))


GENERAL: tuple[General, ...] = (
    *_topic(
        "capital",
        "France:Paris, Italy:Rome, Spain:Madrid, Germany:Berlin, Austria:Vienna, Portugal:Lisbon, Greece:Athens, Norway:Oslo, Sweden:Stockholm,"
        "Finland:Helsinki, Denmark:Copenhagen, Poland:Warsaw, Hungary:Budapest, Ireland:Dublin, Japan:Tokyo, China:Beijing, Russia:Moscow,"
        "Egypt:Cairo, Cuba:Havana, Peru:Lima, Canada:Ottawa, Kenya:Nairobi, Belgium:Brussels, England:London, Turkey:Ankara, Iceland:Reykjavik",
        "What is the capital of {a}? | What's the capital of {a}? | Which city is the capital of {a}? | Name the capital of {a}. | Tell me the capital of {a}."
        " | Do you know the capital of {a}? | {a}'s capital? | {a}'s capital is what? | {a}'s capital, please. | What is {a}'s capital city? | What is {a}'s capital? | What is the capital city of {a}? | Do you know {a}'s capital? | Can you tell me what the capital of {a} is? | The capital of {a} is which city?",
        "The capital of {a} is {b}.",
    ),
    *_topic(
        "opposite",
        "hot:cold, big:small, fast:slow, light:dark, up:down, left:right, day:night, good:bad, old:young, rich:poor, wet:dry, hard:soft, open:closed,"
        "early:late, full:empty, happy:sad, high:low, long:short, strong:weak, clean:dirty",
        "What is the opposite of {a}? | What's the opposite of {a}? | Which word is the opposite of {a}? | Tell me the opposite of {a}. | The opposite of {a} is what?"
        " | Name the opposite of {a}. | Do you know the opposite of {a}? | Which word means the opposite of {a}? | Can you tell me the opposite of {a}? | Give me the opposite of {a}.",
        "The opposite of {a} is {b}.",
    ),
    *_topic(
        "colour of things",
        "grass:green, snow:white, the sky:blue, a banana:yellow, blood:red, coal:black, a lemon:yellow, a tomato:red, milk:white, the sun:yellow,"
        "a carrot:orange, chocolate:brown, the sea:blue, an elephant:grey, a cucumber:green",
        "What colour is {a}? | Which colour is {a}? | What is the colour of {a}? | Tell me the colour of {a}. | What's the colour of {a}? | Which colour does {a} have?"
        " | Do you know the colour of {a}? | What colour does {a} have? | {a} has which colour? | {a} has what colour? | {a} is which colour? | {a} is what colour? | Do you know what colour {a} is? | Can you name the colour of {a}?",
        "{a} is {b}.",
    ),
    *_topic(
        "day after",
        "Monday:Tuesday, Tuesday:Wednesday, Wednesday:Thursday, Thursday:Friday, Friday:Saturday, Saturday:Sunday, Sunday:Monday",
        "What day comes after {a}? | Which day comes after {a}? | What day follows {a}? | Which day is after {a}? | Tell me the day after {a}. | What is the day after {a}?"
        " | Do you know which day follows {a}? | Do you know what day comes after {a}? | Name the day after {a}. | After {a} comes which day? | What day is it the day after {a}? | If today is {a}, what is tomorrow?",
        "The day after {a} is {b}.",
    ),
    *_topic(
        "month after",
        "January:February, February:March, March:April, April:May, May:June, June:July, July:August, August:September, September:October,"
        "October:November, November:December, December:January",
        "What month comes after {a}? | Which month comes after {a}? | What month follows {a}? | Which month is after {a}? | Tell me the month after {a}. | What is the month after {a}?"
        " | Do you know which month follows {a}? | Name the month that comes after {a}. | Name the month after {a}. | After {a} comes which month?",
        "The month after {a} is {b}.",
    ),
    *_topic(
        "number after",
        ",".join(f"{number}:{number + 1}" for number in range(1, 20)),
        "What number comes after {a}? | Which number comes after {a}? | What comes after {a}? | Which number follows {a}? | Tell me the number after {a}. | What is the number after {a}?"
        " | Count on from {a}. | What number follows {a}?",
        "After {a} comes {b}.",
    ),
    *_topic(
        "sum",
        ",".join(f"{a} plus {b}:{a + b}" for a in range(1, 6) for b in range(1, 6)),
        "What is {a}? | How much is {a}? | What's {a}? | Tell me what {a} is. | Can you add up {a}? | {a} is what? | What do you get for {a}? | Please work out {a}. | Work out {a}. | Can you work out {a}? | Tell me how much {a} is. | {a}?",
        "{a} is {b}.",
    ),
    *_topic(
        "sound",
        "dog:bark, cat:meow, cow:moo, duck:quack, sheep:baa, lion:roar, pig:oink, owl:hoot",
        "What sound does a {a} make? | Which sound does a {a} make? | What does a {a} say? | What noise does a {a} make? | How does a {a} sound? | What noise is made by a {a}? | What sound is made by a {a}? | Tell me the sound of a {a}."
        " | A {a} makes which sound? | What is the sound of a {a}?",
        "A {a} makes the sound {b}.",
    ),
    *_topic(
        "legs",
        "dog:four, cat:four, spider:eight, bird:two, horse:four, ant:six, bee:six, cow:four, snake:no, fish:no",
        "How many legs does a {a} have? | What number of legs does a {a} have? | A {a} has how many legs? | Tell me how many legs a {a} has. | How many legs has a {a}?"
        " | Do you know how many legs a {a} has? | Can you tell me how many legs a {a} has? | What is the number of legs of a {a}?",
        "A {a} has {b} legs.",
    ),
    *_topic(
        "young",
        "dog:puppy, cat:kitten, cow:calf, horse:foal, sheep:lamb, hen:chick, goat:kid, lion:cub",
        "What is a young {a} called? | What do you call a young {a}? | What is a baby {a} called? | Which word is used for a young {a}? | Tell me the word for a young {a}."
        " | How is a baby {a} called? | What name does a young {a} have? | A young {a} is called what?",
        "A young {a} is called a {b}.",
    ),
    *_topic(
        "made of",
        "bread:flour, cheese:milk, wine:grapes, paper:wood, butter:milk, glass:sand, cider:apples, steel:iron",
        "What is {a} made of? | What is {a} made from? | From what is {a} made? | What do you need to make {a}? | {a} is made of what? | Tell me what {a} is made of."
        " | Do you know what {a} is made of? | What goes into {a}?",
        "{a} is made from {b}.",
    ),
    _chat(
        "Hello! | Hi! | Hey there! | Good morning! | Hi, good to see you. | hello | Good evening! | hey | Hello there, friend.",
        "Hello! How can I help you?",
        "hello|hi",
    ),
    _chat(
        "How are you? | How are you doing? | How do you do? | How's it going? | Are you well? | How are things? | Everything all right with you?",
        "I am fine, thank you.",
        "fine",
    ),
    _chat(
        "Who are you? | What are you? | Tell me about yourself. | Introduce yourself. | What kind of thing are you? | Can you say who you are?",
        "I am a small assistant that learns from you.",
        "assistant",
    ),
    _chat(
        "Are you a robot? | Are you human? | Are you a person? | Are you a real person? | Am I talking to a human? | Is this a human?",
        "I am not a person, I am an assistant.",
        "assistant",
    ),
    _chat(
        "Thank you! | Thanks. | Thanks a lot! | Thank you very much. | Many thanks. | That was helpful, thank you. | thanks",
        "You are welcome.",
        "welcome",
    ),
    _chat(
        "Goodbye! | Bye! | See you later. | Good night! | See you tomorrow. | I have to go now. | bye bye",
        "Goodbye! See you soon.",
        "goodbye",
    ),
    _chat(
        "What can you do? | How can you help me? | What are you good for? | What do you do? | Which things can you do? | In what way can you help?",
        "I can answer questions and remember what you tell me.",
        "remember",
    ),
    _chat(
        "Tell me a joke. | Do you know a joke? | Make me laugh. | Say something funny. | Can you tell a joke? | I want to hear a joke.",
        "Why did the tomato turn red? It saw the salad dressing.",
        "tomato",
    ),
    _chat(
        "How many days are in a week? | How many days does a week have? | A week has how many days? | What number of days is in a week? | Tell me how many days a week has.",
        "A week has seven days.",
        "seven",
    ),
    _chat(
        "How many months are in a year? | How many months does a year have? | A year has how many months? | What number of months is in a year? | Tell me how many months a year has.",
        "A year has twelve months.",
        "twelve",
    ),
    _chat(
        "How many hours are in a day? | How many hours does a day have? | A day has how many hours? | What number of hours is in a day? | Tell me how many hours a day has.",
        "A day has 24 hours.",
        "24",
    ),
    _chat(
        "Which planet do we live on? | What planet do we live on? | On which planet do we live? | What is our planet called? | What is the name of our planet?",
        "We live on the planet Earth.",
        "earth",
    ),
    _chat(
        "What is the largest ocean? | Which ocean is the largest? | Which ocean is the biggest? | What is the biggest ocean? | Tell me the largest ocean.",
        "The largest ocean is the Pacific.",
        "pacific",
    ),
    _chat(
        "What is the highest mountain? | Which mountain is the highest? | Name the highest mountain. | What is the tallest mountain in the world? | Tell me the highest mountain.",
        "The highest mountain is Mount Everest.",
        "everest",
    ),
    _chat(
        "Where does the sun rise? | Where does the sun come up? | In which direction does the sun rise? | On which side does the sun rise? | The sun rises where?",
        "The sun rises in the east.",
        "east",
    ),
    _chat(
        "What do bees make? | What is made by bees? | What do we get from bees? | Which food do bees make? | Bees make what?",
        "Bees make honey.",
        "honey",
    ),
    _chat(
        "At what temperature does water freeze? | When does water freeze? | How cold must water be to freeze? | Water freezes at what temperature? | What is the freezing point of water?",
        "Water freezes at 0 degrees.",
        "0",
    ),
    _chat(
        "I am bored. | I'm so bored. | There is nothing to do. | This is boring. | I feel bored today.",
        "You could go for a walk or read a book.",
        "walk",
    ),
    _chat(
        "I am happy today. | I feel great! | Today is a good day. | I'm in a good mood. | I am very happy.",
        "That is good to hear!",
        "good",
    ),
    _chat(
        "I am sad. | I feel sad today. | I'm not feeling well. | Today is a bad day. | I am unhappy.",
        "I am sorry to hear that.",
        "sorry",
    ),
)


def general_questions(split: Split = "held-out") -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Every question of the split with the words of which one must stand in a right answer."""
    return tuple((question, item.words) for item in GENERAL for question in item.questions(split))
