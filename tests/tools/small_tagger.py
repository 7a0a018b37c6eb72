"""A WD14 tagger of eight pixels, saved as the hub would give it.

Its answer is plain to work out by hand: tag i's probability is the picture's mean brightness, 0–1, times factor i.
"""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIZE = 8

TAGS = [  # (name, category, factor)
    ("general", 9, 0.2), ("sensitive", 9, 0.9), ("questionable", 9, 0.3), ("explicit", 9, 0.1),
    ("1girl", 0, 0.9), ("long_hair", 0, 0.8), ("(o)_(o)", 0, 0.7), ("smile", 0, 0.3),
    ("hatsune_miku_(vocaloid)", 4, 0.95), ("rin", 4, 0.2),
]  # fmt: skip


def save_tagger(folder: Path, batch: int | str = "N", rows: int = len(TAGS), slow: bool = False) -> Path:
    """batch: a number makes a model of that fixed batch size.  rows: how many tags the list has.

    slow: a model that takes some hundredths of a second a picture, by multiplying large matrices to nothing.
    """
    folder.mkdir(parents=True)
    factors = [factor / 255 for _, _, factor in TAGS]
    mean = helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0)
    column = helper.make_node("Unsqueeze", ["mean", "last"], ["column"])
    times = helper.make_node("Mul", ["column", "factors"], ["product"])
    delay = [  # column → a large matrix of it → its square → times zero
        helper.make_node("Expand", ["column", "large"], ["spread"]),
        helper.make_node("MatMul", ["spread", "spread"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
    ]
    end = helper.make_node("Add", ["product", "nothing" if slow else "zero"], ["predictions"])
    graph = helper.make_graph(
        [mean, column, times, *(delay if slow else []), end],
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("predictions", TensorProto.FLOAT, [batch, len(TAGS)])],
        [
            helper.make_tensor("factors", TensorProto.FLOAT, [1, len(TAGS)], factors),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
            helper.make_tensor("large", TensorProto.INT64, [2], [1200, 1200]),
            helper.make_tensor("zero", TensorProto.FLOAT, [], [0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model.onnx")
    lines = ["tag_id,name,category,count"]
    lines += [f"{number},{name},{category},{1000 - number}" for number, (name, category, _) in enumerate(TAGS)]
    (folder / "selected_tags.csv").write_text("\n".join(lines[: rows + 1]) + "\n", encoding="utf-8")
    return folder


MAPPED = [  # (tag, category, factor)
    ("1girl", "General", 2), ("smile", "General", 1), ("rare", "General", -2), ("miku", "Character", 3),
    ("an_artist", "Artist", 1.5), ("best_quality", "Quality", 0.5), ("bad_quality", "Quality", -1),
    ("safe", "Rating", 0.2), ("explicit", "Rating", -3),
]  # fmt: skip


def save_mapped_tagger(folder: Path) -> Path:
    """In cl_tagger's form: tag i's logit is the picture's mean, −1 … 1, times factor i."""
    folder.mkdir(parents=True)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),
        helper.make_node("Mul", ["column", "factors"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tagger",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(MAPPED)])],
        [
            helper.make_tensor("factors", TensorProto.FLOAT, [1, len(MAPPED)], [factor for _, _, factor in MAPPED]),
            helper.make_tensor("last", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, folder / "model_optimized.onnx")
    listed = {str(number): {"tag": tag, "category": kind} for number, (tag, kind, _) in enumerate(MAPPED)}
    (folder / "tag_mapping.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder
