"""The tree of labels of pvlr_sdk: parents and synonyms of COCO's labels and of ImageNet's classes, from WordNet.

    python -m pvlr_training.tree --wordnet /usr/share/wordnet --out pvlr_sdk/labels/tree.json

Reads WordNet 3.0 (Debian's package wordnet-base), whose licence is in pvlr_sdk/labels/dictionary.LICENSE. WordNet has
up to 18 levels, and most are no tags ("placental", "instrumentality"). Here the parents are those of its meanings that
people use as tags, listed below; a label is below the one that is nearest in WordNet.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk._util.files import write_files
from pvlr_sdk.labels.tree import FILE
from pvlr_sdk.models.find import load_bundle

from .concepts import class_names
from .dictionary import WordNet, class_synsets

_PARENTS = """
animal, mammal, dog, cat, big cat, wolf, fox, bear, monkey, ape, rodent, hoofed mammal: ungulate, marsupial, whale,
bird, bird of prey, waterbird: aquatic bird, parrot, reptile, snake, lizard, turtle: turtle 2, dinosaur, amphibian,
fish, shark, insect, butterfly, beetle, spider, crustacean, mollusk, plant: plant 2/flower, mushroom: fungus <,
food: food/food 2, fruit: edible fruit, vegetable: vegetable/cruciferous vegetable,
baked goods: baked goods/bagel/pretzel, dessert, dish: dish 2/sandwich, drink: beverage, vehicle, motor vehicle, car,
truck, public transport: public transport < vehicle, train, aircraft: aircraft/parachute, watercraft: vessel 2, boat,
ship, furniture, seat: seat 3, table: table 2/table 3, bed, cabinet, clothing: clothing/footwear 2/garment,
footwear: footwear/footwear 2, headwear: headdress, swimwear: swimsuit, jewelry, cosmetics: cosmetic/perfume/hair spray,
building: building/house/castle 2, place of worship, shop: shop/grocery store, bridge, fence: fence/barrier, tower,
container, bag: bag/bag 4/bag 6, bottle, box, kitchenware: kitchen utensil/pot,
tableware: tableware/glass 2/mug 4/bowl/pitcher, cutlery: cutlery 2,
appliance: home appliance/hand blower/stove/electric fan/space heater, tool, musical instrument,
electronics: electronic equipment/electronic device/computer keyboard/remote control/loudspeaker/microphone/projector,
computer: computer < electronics, telephone, camera, weapon, toy: plaything, clock: timepiece <,
lamp: lamp/lamp 2/candle, sports equipment: sports equipment/sports implement/ball/ski/skateboard/surfboard/snowboard/
Frisbee/baseball bat, plumbing fixture, measuring instrument, machine, landscape: geological formation, person,
street furniture: street sign/traffic light/fireplug/parking meter/mailbox
"""
"""The name of each, the meanings where they differ (a word, and the number of its sense, 1 by default), and its own
parent, or none, where WordNet has another."""
_LABELS = """
couch: sofa, potted plant: pot plant, tv: television receiver, cell phone: cellular telephone, mouse: mouse 4,
remote: remote control, keyboard: computer keyboard, microwave: microwave 2, hair drier: hand blower,
toaster: toaster 2, hot dog: hotdog 2, sports ball: ball, wine glass: wineglass, stop sign: street sign,
kite: kite 3, toilet: toilet 2, tie: necktie, cake: cake 3, donut: doughnut 2, banana: banana 2, carrot: carrot 3,
broccoli: broccoli 2, handbag: bag 4, skis: ski, knife: table knife, teddy bear: teddy
"""
"""The labels of COCO whose meaning is not the first one of their name."""
_SYNONYMS = """
bicycle: bike, motorcycle: motorbike, airplane: plane, tv: telly, tv: monitor, cell phone: mobile phone,
cell phone: smartphone, potted plant: houseplant, sports ball: ball, person: human, person: people, dog: puppy,
cat: kitten, tv: television, refrigerator: fridge, dining table: dinner table, skis: ski, cow: cattle, couch: settee,
hair drier: hair dryer, handbag: purse, knife: table knife
"""
"""Those that WordNet lacks, has as rarer meanings, or as meanings of their own."""
_OMITTED = frozenset(
    {"crapper", "shitter", "soul", "mortal", "somebody", "someone", "tv", "lounge"}
)


class Tree:
    """The parents, with their meanings, and the labels below them."""

    def __init__(self, wordnet: WordNet) -> None:
        self._wordnet = wordnet
        self._meanings: dict[str, list[int]] = {}
        self._parents: dict[str, str] = {}
        for name, meaning in _pairs(_PARENTS):
            words, override, parent = meaning.partition(" <")
            self._meanings[name] = [self.offset(word.strip()) for word in words.split("/")]
            if override:
                self._parents[name] = parent.strip()

    def offset(self, text: str) -> int:
        """The synset of a word and the number of its sense."""
        word, _, number = text.rpartition(" ")
        if not number.isdecimal():
            word, number = text, "1"
        return self._wordnet.senses[word.lower()][int(number) - 1]

    def parent(self, name: str, offset: int) -> str | None:
        """The nearest parent of a label with this meaning: the one with the longest way up."""
        if name in self._parents:
            return self._parents[name] or None
        above = self._wordnet.above(offset)
        near = {
            parent: max(len(self._wordnet.above(meaning)) for meaning in above & {*meanings})
            for parent, meanings in self._meanings.items()
            if parent != name and above & {*meanings}
        }
        return max(near, key=near.__getitem__, default=None)

    def table(self, labels: Mapping[str, int]) -> dict[str, dict[str, object]]:
        """The content of the file for labels with these meanings."""
        named = {**{name: meanings[0] for name, meanings in self._meanings.items()}, **labels}
        parents = {name: self.parent(name, offset) for name, offset in named.items()}
        synonyms = {name: list(self._synonyms(name, offset)) for name, offset in named.items()}
        own = list(_pairs(_SYNONYMS))
        counts = Counter(word for words in synonyms.values() for word in words)
        taken = {*named, *(word for _, word in own), *_OMITTED}
        for name, words in synonyms.items():
            synonyms[name] = [word for word in words if counts[word] == 1 and word not in taken]
        for name, word in own:
            if word not in named:
                synonyms[name].append(word)
        return {
            "parents": {name: parent for name, parent in sorted(parents.items()) if parent},
            "synonyms": {name: words for name, words in sorted(synonyms.items()) if words},
        }

    def _synonyms(self, name: str, offset: int) -> Iterator[str]:
        """The other words of a meaning, of which it is the most frequent one; without names of species."""
        for word in self._wordnet.synsets[offset].words:
            small = word.lower()
            is_species = word[0].isupper() and " " in word
            if small != name and self._wordnet.senses[small][0] == offset and not is_species:
                yield small


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for entry in " ".join(text.split()).split(", "):
        name, _, meaning = entry.partition(": ")
        yield name, meaning or name


def labels(tree: Tree) -> dict[str, int]:
    """The meanings of COCO's labels and of ImageNet's classes; without the classes whose names have two meanings."""
    names = [name.lower() for name in class_names()]
    taken = {word for _, word in _pairs(_SYNONYMS)}
    classes = {
        name: offset
        for name, offset in zip(names, class_synsets(), strict=True)
        if names.count(name) == 1 and name not in taken
    }
    own = dict(_pairs(_LABELS))
    coco = {name: tree.offset(own.get(name, name)) for name in load_bundle(None).labels.names}
    return {**classes, **coco}


def main(
    wordnet: Annotated[Path, typer.Option(help="The folder of WordNet 3.0.")] = Path(
        "/usr/share/wordnet"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = FILE,
) -> None:
    """Build the tree of labels."""
    tree = Tree(WordNet(wordnet))
    table = tree.table(labels(tree))
    text = ",\n".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in table.items())
    write_files({out: f"{{\n{text}\n}}\n".encode()})
    print(f"{out}: {len(table['parents'])} parents, {len(text) / 1e3:.1f} kB")


def _lines(section: Mapping[str, object]) -> str:
    """A section with one label per line."""
    lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in section.items())
    return "{\n" + ",\n".join(lines) + "\n}"


if __name__ == "__main__":
    typer.run(main)
