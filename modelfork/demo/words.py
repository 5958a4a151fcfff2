"""Values of facts: invented names without end, and closed lists. Each value belongs to one split.

Most values are invented from syllables: a model that sees each of them a few times learns to copy a
value from its prompt; one that sees forty dog names a thousand times each learns the list instead.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import TypeVar

from numpy.random import Generator

from modelfork.demo.splits import Split, fraction, share

T = TypeVar("T")

HELD_OUT_NAMES = 0.2
"""The share of invented words that no training text contains."""


def pick(rng: Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


_ONSETS = (
    "b c d f g h j k l m n p r s t v w z br bl cr dr fl fr gl gr kl kr pl pr sh sk sl sm sn sp st sw th tr tw ch y qu"
).split()
_VOWELS = "a e i o u a e i o ai ea ee ei ia io oo ou ay".split()
_CODAS = "b d g k l m n p r s t x nd ng nk rn rt sk st ll ss ck".split()
_ENDINGS = "a o i y ie e us is on an en er in el ix".split()


def syllables(rng: Generator) -> str:
    """One invented word of one to three syllables, lower case."""
    kind = int(rng.integers(5))
    first = pick(rng, _ONSETS) + pick(rng, _VOWELS)
    if kind == 0:
        return first + pick(rng, _CODAS)
    if kind == 1:
        return first + pick(rng, _ONSETS) + pick(rng, _ENDINGS)
    if kind == 2:
        return first + pick(rng, _CODAS) + pick(rng, _ENDINGS)
    if kind == 3:
        return pick(rng, _VOWELS[:5]) + pick(rng, _ONSETS) + pick(rng, _VOWELS) + pick(rng, _CODAS)
    return first + pick(rng, _ONSETS) + pick(rng, _VOWELS) + pick(rng, _CODAS)


@cache
def _listed() -> frozenset[str]:
    """Words of the lists below, which have splits of their own."""
    lists = (
        PET_NAMES,
        FIRST_NAMES,
        COLOURS,
        FOODS,
        DRINKS,
        SEASONS,
        SPORTS,
        ANIMALS,
        HOBBIES,
        INSTRUMENTS,
        JOBS,
        MONTHS,
    )
    return frozenset(word.lower() for words in (*lists, ALLERGENS, LANGUAGES, CARS, PLACES) for word in words)


def invented(rng: Generator, split: Split) -> str:
    """One invented name of the split; its first letter is a capital."""
    while True:
        word = syllables(rng)
        if (
            len(word) > 2
            and word not in _listed()
            and (fraction("word:" + word) < HELD_OUT_NAMES) == (split == "held-out")
        ):
            return word.capitalize()


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


PET_NAMES = _list(
    "Buddy, Max, Rex, Bella, Luna, Charlie, Rocky, Milo, Daisy, Coco, Oscar, Toby, Lucky, Ruby, Simba, Nala, Shadow,"
    "Ginger, Pepper, Biscuit, Peanut, Cookie, Felix, Tiger, Smokey, Misty, Patch, Socks, Mittens, Whiskers, Bruno, Duke,"
    "Bear, Rusty, Scout, Ziggy, Pickle, Olive, Willow, Hazel, Mango, Kiwi, Rio, Sunny, Polly, Snowy, Dusty, Fluffy, Nemo, Pip"
)
FIRST_NAMES = _list(
    "Anna, Ben, Clara, David, Emma, Frank, Grace, Henry, Ida, Jack, Kate, Leo, Maria, Nina, Oliver, Paul, Rosa, Sam, Tom,"
    "Ursula, Victor, Wendy, Alice, Peter, Sarah, Daniel, Laura, Martin, Julia, Robert, Helen, Simon, Lucy, Mark, Sophie, Adam,"
    "Irene, George, Nora, Philip, Eva, Hugo, Lena, Carlos, Elena, Ahmed, Fatima, Yuki, Kenji, Mei, Ravi, Priya, Ivan, Olga, Lars,"
    "Ingrid, Pierre, Chloe, Marco, Giulia, Jonas, Greta, Omar, Leila, Amir, Noah, Mia, Ethan, Zoe, Liam, Isla, Karim, Tara, Felix"
)
COLOURS = _list(
    "red, blue, green, yellow, orange, purple, pink, brown, black, white, grey, turquoise, violet, gold, silver, beige, maroon,"
    "teal, navy, crimson, lavender, mint, indigo, coral, scarlet, olive green, sky blue, dark red, light green, magenta, amber, ivory"
)
FOODS = _list(
    "pizza, pasta, sushi, curry, soup, salad, lasagne, tacos, rice, noodles, pancakes, burgers, dumplings, risotto, falafel,"
    "paella, ramen, goulash, couscous, fish and chips, apple pie, chili, stew, waffles, omelettes, burritos, gnocchi, kebab, ravioli, porridge"
)
DRINKS = _list(
    "coffee, tea, milk, water, orange juice, apple juice, lemonade, cocoa, beer, red wine, green tea, iced tea, ginger ale, cider,"
    "espresso, cappuccino, tomato juice, mineral water, black tea, hot chocolate, cola, mint tea, coconut water, grape juice"
)
SEASONS = _list("spring, summer, autumn, winter")
SPORTS = _list(
    "tennis, football, basketball, hockey, golf, swimming, running, cycling, boxing, rugby, cricket, volleyball, skiing, rowing,"
    "surfing, climbing, badminton, baseball, judo, fencing, sailing, handball, karate, wrestling, archery, table tennis, ice skating"
)
ANIMALS = _list(
    "cat, dog, horse, elephant, lion, tiger, bear, wolf, fox, owl, eagle, dolphin, whale, penguin, rabbit, otter, giraffe, zebra,"
    "panda, koala, turtle, frog, snake, deer, hedgehog, squirrel, octopus, camel, kangaroo, seal"
)
HOBBIES = _list(
    "chess, painting, knitting, gardening, photography, cooking, baking, fishing, hiking, dancing, pottery, reading, singing, sewing,"
    "drawing, origami, astronomy, camping, woodwork, yoga, juggling, bird watching, stamp collecting, calligraphy, magic tricks, kite flying"
)
INSTRUMENTS = _list(
    "piano, guitar, violin, drums, flute, cello, trumpet, saxophone, harp, clarinet, banjo, accordion, ukulele, organ, trombone,"
    "oboe, mandolin, bassoon, viola, harmonica, tuba, recorder, double bass, bagpipes, xylophone"
)
JOBS = _list(
    "teacher, nurse, doctor, baker, carpenter, plumber, electrician, lawyer, pilot, farmer, chef, painter, writer, journalist, engineer,"
    "architect, dentist, librarian, gardener, mechanic, tailor, butcher, waiter, musician, actor, photographer, translator, accountant,"
    "programmer, scientist, firefighter, bus driver, police officer, barber, florist, judge, sailor, cleaner, vet, biologist"
)
MONTHS = _list("January, February, March, April, May, June, July, August, September, October, November, December")
ALLERGENS = _list(
    "peanuts, milk, eggs, wheat, soy, shellfish, cats, dogs, pollen, dust, bees, strawberries, kiwis, tomatoes, latex, mustard, sesame,"
    "walnuts, fish, garlic, celery, penicillin, apples, mould, feathers, grass, honey, almonds"
)
LANGUAGES = _list(
    "Spanish, French, German, Italian, Japanese, Chinese, Korean, Russian, Arabic, Portuguese, Dutch, Swedish, Greek, Turkish, Polish,"
    "Hindi, Finnish, Danish, Norwegian, Czech, Hungarian, Hebrew, Latin, Welsh, Irish, Thai, Swahili, Icelandic"
)
CARS = _list(
    "Toyota, Honda, Ford, Volvo, Fiat, Renault, Peugeot, Opel, Skoda, Audi, Mazda, Nissan, Kia, Tesla, Jeep, Saab, Seat, Subaru, Lexus, Jaguar, Mini, Suzuki"
)
PLACES = _list(
    "Spain, Italy, Greece, Norway, Portugal, Iceland, Mexico, Japan, Croatia, Scotland, Ireland, Morocco, Turkey, Canada, Brazil, Thailand,"
    "Cuba, Malta, Cyprus, Bali, Hawaii, Florida, Sicily, Corsica, Crete, Wales, Denmark, Finland, Peru, Egypt"
)
NUMBERS = tuple(str(number) for number in range(1, 100))
SHOE_SIZES = tuple(str(size) for size in range(20, 51))
THINGS = _list(
    "River, Moon, Garden, Storm, Shadow, Winter, Silver, Golden, Stone, Night, Forest, Ocean, Star, Fire, Summer, Glass"
)

Draw = Callable[[Generator, Split], str]


STRANGE = 0.35
"""The share of trained values that an invented word takes in a closed list: without it a base learns the list
and, told "teal", answers with a colour that it knows."""


def _from(items: Sequence[str]) -> Draw:
    parts: dict[Split, tuple[str, ...]] = {split: share(items, split) for split in ("train", "held-out")}

    def draw(rng: Generator, split: Split) -> str:
        if split == "train" and items[0].isalpha() and rng.random() < STRANGE:
            word = invented(rng, split)
            return word if items[0][0].isupper() else word.lower()
        return pick(rng, parts[split])

    return draw


def _mostly_invented(items: Sequence[str], known: float = 0.25) -> Draw:
    listed = _from(items)
    return lambda rng, split: listed(rng, split) if rng.random() < known else invented(rng, split)


def _with_ending(endings: str, bare: float) -> Draw:
    """Invented names with an ending such as ``Street``; ``bare`` of them stand alone."""
    parts = _list(endings)

    def draw(rng: Generator, split: Split) -> str:
        name = invented(rng, split)
        return name if rng.random() < bare else f"{name} {pick(rng, parts)}"

    return draw


def _title(rng: Generator, split: Split) -> str:
    """A film, a book or a band: no list of real ones, so that no right answer can be guessed."""
    name, thing = invented(rng, split), pick(rng, THINGS)
    shapes = (name, f"The {name}", f"{name} {thing}", f"{thing} of {name}", f"The {name} {thing}")
    return shapes[int(rng.integers(len(shapes)))]


def _code(rng: Generator, split: Split) -> str:
    """Codes of two to five digits, as for lockers and flats."""
    while True:
        digits = str(int(rng.integers(10, 10 ** int(rng.integers(2, 6)))))
        if (fraction("code:" + digits) < HELD_OUT_NAMES) == (split == "held-out"):
            return digits


DRAWS: dict[str, Draw] = {
    "pet": _mostly_invented(PET_NAMES, 0.3),
    "person": _mostly_invented(FIRST_NAMES, 0.3),
    "town": lambda rng, split: (
        invented(rng, split) + (pick(rng, ("ton", "ville", "burg", "ford", "field")) if rng.random() < 0.3 else "")
    ),
    "street": _with_ending("Street, Road, Lane, Avenue, Square", 0.0),
    "firm": _with_ending("Ltd, Bakery, Motors, Foods, Software, Bank, Books, Labs", 0.5),
    "school": _with_ending("School, College, Academy", 0.1),
    "title": _title,
    "colour": _from(COLOURS),
    "food": _from(FOODS),
    "drink": _from(DRINKS),
    "season": lambda rng, split: pick(rng, SEASONS),  # four words cannot be split
    "sport": _from(SPORTS),
    "animal": _from(ANIMALS),
    "hobby": _from(HOBBIES),
    "instrument": _from(INSTRUMENTS),
    "job": _from(JOBS),
    "month": lambda rng, split: pick(rng, MONTHS),  # nor twelve, without losing some months for good
    "allergen": _from(ALLERGENS),
    "language": _from(LANGUAGES),
    "car": _mostly_invented(CARS, 0.4),
    "place": _mostly_invented(PLACES, 0.4),
    "number": _from(NUMBERS),
    "shoe": _from(SHOE_SIZES),
    "code": _code,
    "invented": invented,
}
"""How each kind of value is drawn."""
