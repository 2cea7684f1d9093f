"""Words by their grade: the labels of the bundled model as words, without what it was trained for them.

    python -m benchmarks.accuracy.open.grades --json benchmarks/results/open-grades.json

Each word is the dictionary's mixture of ImageNet's classes; in the last row it is the mixture of the language model,
which needs the extra [words]. Takes two minutes. Needs $PVLR_DATA.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk import Tagger
from pvlr_sdk.labels import Knowledge, LabelBank
from pvlr_sdk.labels.words import TEMPLATES, encode_prompts
from pvlr_sdk.workshop.evaluation.metrics import nan_mean, per_class

from ...common import Json, Table, conditions, run, save
from ..data import FOLDERS, Data, Split, check_outputs, data_folder, read_split


def main(data: Data = None, split: Split = "testdev", out: Json = None) -> None:
    """Measure words by their grade."""
    check_outputs(out)
    folder = data_folder(data)
    knowledge = Knowledge.load()
    grades = dict[str, Any]()
    with Tagger(optimize="throughput") as tagger:
        words = tagger.labels
        bank = knowledge.bank(words, force=True)
        prompts = [[template.replace("{}", word) for template in TEMPLATES] for word in words]
        shares, _ = knowledge.shares(encode_prompts(prompts).astype(np.float64))
        encoded = knowledge.bank_of(words, shares)
        of_words = np.array([bank.taught[word]["grade"] for word in words])
        for name in FOLDERS:
            images, table = read_split(folder, name, split, words)
            files = [images / file for file in table.files]
            own, other = (
                100 * per_class(_logits(tagger, one, files), table.targets)
                for one in (bank, encoded)
            )
            rows = {grade: of_words == grade for grade in ("exact", "doubtful", "unknown")}
            parts = {
                **{grade: own[row] for grade, row in rows.items()},
                "all": own,
                "all, by the language model": other,
            }
            grades[name] = {
                row: [int(np.isfinite(of).sum()), round(nan_mean(of), 2)]
                for row, of in parts.items()
            }
    grades_table(grades).print(width=80)
    save(out, {"split": split, "grades": grades, "conditions": conditions(None)})


def _logits(tagger: Tagger, bank: LabelBank, files: list[Path]) -> NDArray[np.float32]:
    """(N, C): the logits of the labels of a bank."""
    tagger.set_labels(bank)
    return np.stack([result.logits for result in tagger.predict_batch(files)])


def grades_table(grades: dict[str, dict[str, list[float]]]) -> Table:
    """Words by their grade: number and mAP on each data set."""
    rows = [
        [row, *(cell for of in grades.values() for cell in _words(*of[row]))]
        for row in grades["coco"]
    ]
    columns = ["Grade", *(f"{of} {name.upper()}" for name in grades for of in ("words,", "mAP,"))]
    return Table("Words by their grade, on testdev", columns, rows)


def _words(count: float, value: float) -> list[str]:
    return [str(count), f"{value:.1f}" if count else "-"]


if __name__ == "__main__":
    run(main)
