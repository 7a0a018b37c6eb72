"""What a trained file says about the pictures that it learned from: sd-scripts' ss_* keys."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from engine.data.buckets import Placed, Size
from engine.data.items import Item
from engine.data.placing import bucket_bounds
from engine.data.steps import StepPlan
from engine.data.training_set import described_by
from engine.settings.dataset import Dataset
from engine.settings.training import TrainingSettings
from engine.training.metadata_size import MOST

Shown = tuple[Item, str, Placed]
"""A picture with its caption and its place."""


def data_facts(
    settings: TrainingSettings, plan: StepPlan, *, items: list[Item], captions: list[str], places: list[Placed]
) -> dict[str, Any]:
    """For a dataset config, each dataset separately, in ss_datasets; otherwise all pictures together.

    Without the tag frequencies if these would be too long for a file.
    """
    shown = list(zip(items, captions, places, strict=True))
    own = [item for item in items if not item.is_regularisation]
    tags = _tags(shown)
    facts = {
        "ss_num_train_images": sum(item.repeats for item in own),
        "ss_num_reg_images": sum(item.repeats for item in items) - sum(item.repeats for item in own),
        "ss_num_batches_per_epoch": plan.batches,
        **({"ss_tag_frequency": json.dumps(tags, ensure_ascii=False)} if tags is not None else {}),
        "ss_dataset_dirs": json.dumps(_folders(own)),
        "ss_prior_loss_weight": settings.objective.prior_loss_weight,
    }
    if described_by(settings) == "dataset_config":
        return facts | {"ss_datasets": json.dumps(list(_datasets(shown, tags is not None)), ensure_ascii=False)}
    data, batch = settings.dataset, settings.optimizer.train_batch_size
    least, most = _bounds(data)
    return {
        **facts,
        "ss_reg_dataset_dirs": json.dumps(_folders([item for item in items if item.is_regularisation])),
        "ss_batch_size_per_device": batch,
        "ss_total_batch_size": batch * plan.processes * plan.accumulation,
        "ss_resolution": str(data.size()),
        "ss_enable_bucket": data.enable_bucket,
        "ss_bucket_no_upscale": data.enable_bucket and data.bucket_no_upscale,
        "ss_min_bucket_reso": least,
        "ss_max_bucket_reso": most,
        "ss_bucket_info": json.dumps(_bucket_info(shown, data)),
        "ss_flip_aug": data.flip_aug,
        "ss_shuffle_caption": settings.captions.shuffle_caption,
        "ss_keep_tokens": settings.captions.keep_tokens,
        "ss_caption_dropout_rate": settings.captions.caption_dropout_rate,
        "ss_caption_dropout_every_n_epochs": settings.captions.caption_dropout_every_n_epochs,
        "ss_caption_tag_dropout_rate": settings.captions.caption_tag_dropout_rate,
    }


def _datasets(shown: list[Shown], with_tags: bool) -> Iterator[dict[str, Any]]:
    for number in dict.fromkeys(item.subset.dataset for item, _, _ in shown):
        within = [one for one in shown if one[0].subset.dataset == number]
        items = [item for item, _, _ in within]
        reading = items[0].subset
        least, most = _bounds(reading.pictures)
        yield {
            "is_dreambooth": items[0].caption is None,
            "batch_size_per_device": reading.batch_size,
            "num_train_images": sum(item.repeats for item in items if not item.is_regularisation),
            "num_reg_images": sum(item.repeats for item in items if item.is_regularisation),
            "resolution": list(reading.pictures.size()),
            "enable_bucket": reading.pictures.enable_bucket,
            "min_bucket_reso": least,
            "max_bucket_reso": most,
            **({"tag_frequency": _tags(within)} if with_tags else {}),
            "bucket_info": _bucket_info(within, reading.pictures),
            "resize_interpolation": None,
            "subsets": [_subset(together) for together in _by_subset(items)],
        }


def _by_subset(items: list[Item]) -> list[list[Item]]:
    groups: dict[int, list[Item]] = {}
    for item in items:
        groups.setdefault(id(item.subset), []).append(item)
    return list(groups.values())


def _subset(items: list[Item]) -> dict[str, Any]:
    """Empty marks and words are null there."""
    first, captions, pictures = items[0], items[0].subset.captions, items[0].subset.pictures
    return {
        "img_count": len(items),
        "num_repeats": first.repeats,
        "color_aug": pictures.color_aug,
        "flip_aug": pictures.flip_aug,
        "random_crop": pictures.random_crop,
        "shuffle_caption": captions.shuffle_caption,
        "keep_tokens": captions.keep_tokens,
        "keep_tokens_separator": captions.keep_tokens_separator or None,
        "secondary_separator": captions.secondary_separator or None,
        "enable_wildcard": captions.enable_wildcard,
        "caption_prefix": captions.caption_prefix or None,
        "caption_suffix": captions.caption_suffix or None,
        "resize_interpolation": None,
        "image_dir": first.picture.parent.name,
        "class_tokens": first.words or None,
        "is_reg": first.is_regularisation,
    }


def _tags(shown: list[Shown]) -> dict[str, Counter[str]] | None:
    """How often each part of a caption occurs, by folder; regularisation pictures are left out.

    None if it would be too long for a file: captions that are whole sentences have so little in common that the list
    would be as long as they are.
    """
    tags: dict[str, Counter[str]] = {}
    total = 0
    for item, caption, _ in shown:
        if item.is_regularisation:
            continue
        counts = tags.setdefault(item.picture.parent.name, Counter())
        for part in caption.replace("\n", ",").split(","):
            if word := part.strip():
                total += 0 if word in counts else len(word)
                counts[word] += 1
        if total > MOST:
            return None
    return tags


def _folders(items: list[Item]) -> dict[str, dict[str, int]]:
    folders: dict[str, dict[str, int]] = {}
    for item in items:
        folder = folders.setdefault(item.picture.parent.name, {"n_repeats": item.repeats, "img_count": 0})
        folder["img_count"] += 1
    return folders


def _bounds(pictures: Dataset) -> tuple[int | None, int | None]:
    """The shortest and longest side of a bucket, which only count if pictures may be enlarged."""
    upscaled = pictures.enable_bucket and not pictures.bucket_no_upscale
    return bucket_bounds(pictures) if upscaled else (None, None)


def _bucket_info(shown: list[Shown], pictures: Dataset) -> dict[str, Any] | None:
    """Every bucket's size with its number of pictures times repeats, and the mean difference from the pictures' own
    aspect ratios.
    """
    if not pictures.enable_bucket:
        return None
    counts = Counter[Size]()
    for item, _, place in shown:
        counts[place.bucket] += item.repeats
    places = {item.picture: place for item, _, place in shown}.values()
    errors = [abs(p.bucket[0] / p.bucket[1] - _aspect(p)) for p in places]
    return {
        "buckets": {
            str(number): {"resolution": list(size), "count": count}
            for number, (size, count) in enumerate(sorted(counts.items()))
        },
        "mean_img_ar_error": sum(errors) / len(errors),
    }


def _aspect(place: Placed) -> float:
    """Of the picture as it is on the disk."""
    width, height = place.original if place.original != (0, 0) else place.resized
    return width / height
