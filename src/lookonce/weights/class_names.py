"""Words for the same class in different data sets. They only suggest: no class is renamed because of them."""

import re
from collections.abc import Iterable

# Words that data sets use for one thing, or for kinds of it.
SYNONYMS = (
    {"person", "people", "human", "pedestrian", "man", "woman", "boy", "girl", "child", "worker", "player"},
    {"bicycle", "bike", "cycle", "pushbike"},
    {"car", "automobile", "vehicle", "auto", "sedan", "taxi", "suv"},
    {"motorcycle", "motorbike", "motor", "moped", "scooter"},
    {"airplane", "aeroplane", "plane", "aircraft", "jet"},
    {"bus", "minibus", "coach"},
    {"train", "locomotive", "tram"},
    {"truck", "lorry", "pickup", "van"},
    {"boat", "ship", "vessel", "yacht", "sailboat"},
    {"trafficlight", "trafficsignal", "stoplight"},
    {"firehydrant", "hydrant"},
    {"bird", "pigeon", "duck", "chicken", "eagle"},
    {"cat", "kitten"},
    {"dog", "puppy"},
    {"horse", "pony"},
    {"sheep", "lamb", "goat"},
    {"cow", "cattle", "bull", "ox", "calf"},
    {"backpack", "rucksack"},
    {"handbag", "bag", "purse"},
    {"tie", "necktie"},
    {"suitcase", "luggage"},
    {"sportsball", "ball", "football", "basketball"},
    {"cup", "mug"},
    {"wineglass", "glass"},
    {"donut", "doughnut"},
    {"couch", "sofa", "settee"},
    {"pottedplant", "plant", "houseplant"},
    {"diningtable", "table", "desk"},
    {"tv", "television", "tvmonitor", "monitor", "screen"},
    {"laptop", "notebook"},
    {"mouse", "computermouse"},
    {"remote", "remotecontrol"},
    {"cellphone", "phone", "mobilephone", "mobile", "smartphone"},
    {"oven", "stove", "cooker"},
    {"refrigerator", "fridge"},
    {"hairdrier", "hairdryer"},
)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known class that means the same in other words or another spelling (`Traffic_Lights`), or None."""
    by_shape = {_shape(other): other for other in known}
    shape = _shape(name)
    same = [word for words in SYNONYMS if shape in words for word in by_shape if word in words]
    return by_shape.get(shape) or next((by_shape[word] for word in same), None)


def _shape(name: str) -> str:
    """Lower case without spaces and signs, in the singular: `bus` keeps its s, `glass` too."""
    letters = re.sub(r"[\W_]+", "", name.lower())
    return letters if len(letters) <= 3 or letters.endswith(("ss", "us")) else letters.removesuffix("s")
