"""Make the pocket model from nothing: python -m engine.demo.make_model [FOLDER]

Draws the pictures, fits a tokenizer to their captions, trains the autoencoder, then the UNet together
with the text encoder, and writes an ordinary diffusers folder in fp16. Everything is seeded, so the
same library versions and thread count give the same model. Takes under an hour on two CPU cores.

The UNet learns in two lessons. In the first it learns the six shapes. In the second, half of the pictures show
outlines that nobody has a name for, each under a made-up word: so it learns, as a large model has, that a word it
does not know may stand for any outline, and to draw sound edges in any direction. Without the second lesson it can
hardly be taught a new shape at all.

An interrupted start is taken up where its last finished part ended: the autoencoder, or the first lesson.
"""

from __future__ import annotations

import copy
import json
import math
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.demo.judge import judge
from engine.demo.shapes import (
    COLORS,
    NEW_SHAPE,
    POINTED_SHAPE,
    SHAPES,
    SIZE,
    Outline,
    Scene,
    draw,
    random_caption,
    random_scene,
)
from engine.models.checkpoint import config_of
from engine.models.classic import save_tokenizer
from engine.models.diffusers_folder import save_folder
from engine.models.parts import Parts

MODEL_FOLDER = Path(__file__).parent / "model"

SEED = 20261120
THREADS = 2
VAE_STEPS, VAE_BATCH, VAE_LEARNING_RATE = 2400, 24, 2e-3
UNET_BATCH = 64
REPORT_EVERY = 400
CAPTION_DROPOUT = 0.1
EMA_DECAY = 0.998
SD1_SCALING_FACTOR = 0.18215


@dataclass(frozen=True)
class Lesson:
    """A part of the UNet's training.  words: how many made-up words half of its pictures show; 0 for none."""

    name: str
    seed: int
    pictures: int
    steps: int
    learning_rate: float
    words: int = 0


SHAPES_LESSON = Lesson("shapes", SEED + 2, pictures=24_000, steps=3000, learning_rate=1e-3)
OUTLINES_LESSON = Lesson("outlines", SEED + 5, pictures=16_000, steps=800, learning_rate=5e-4, words=400)


def make_tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer whose merges were learned from the captions, and whose bytes can spell any word."""
    rng = random.Random(SEED)
    captions = [random_caption(random_scene(rng), rng) for _ in range(4000)]
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    learner.train_from_iterator(
        captions, trainers.BpeTrainer(vocab_size=10_000, min_frequency=2, end_of_word_suffix="</w>")
    )
    with tempfile.TemporaryDirectory() as folder:
        learner.model.save(folder)
        lines = (Path(folder) / "merges.txt").read_text(encoding="utf-8").splitlines()
    merges = [tuple(line.split(" ")) for line in lines if line and not line.startswith("#")]
    pieces = [*bytes_, *(byte + "</w>" for byte in bytes_), *("".join(pair) for pair in merges)]
    pieces = [*dict.fromkeys(pieces), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def make_vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=SIZE,
        scaling_factor=SD1_SCALING_FACTOR,
    )


def make_unet() -> UNet2DConditionModel:
    """SD 1's sixteen transformer blocks in its four levels, only narrower."""
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(64, 64, 96, 96),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        cross_attention_dim=64,
        attention_head_dim=8,
    )


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            projection_dim=64,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def pixels(pictures: list) -> Tensor:
    """PIL pictures → (B, 3, H, W) in [-1, 1]."""
    array = np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32)
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1


def warm_cosine(step: int, steps: int, warmup: int = 100) -> float:
    """The learning rate's factor: up in a line, down in half a cosine."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def training(name: str, modules: list[nn.Module], steps: int, learning_rate: float) -> Iterator:
    """Yields a function that takes a loss and makes the step, and prints how it goes."""
    parameters = [p for module in modules for p in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_cosine(step, steps))
    began, losses = time.monotonic(), []

    def make(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())

    for step in range(steps):
        yield step, make
        if (step + 1) % 100 == 0:
            mean = torch.stack(losses[-100:]).mean().item()
            print(f"{name} {step + 1}/{steps}  loss {mean:.4f}  {time.monotonic() - began:.0f} s", flush=True)


def train_vae(vae: AutoencoderKL) -> None:
    rng = random.Random(SEED + 1)
    shapes = (*SHAPES, POINTED_SHAPE)
    for _, make in training("vae", [vae], VAE_STEPS, VAE_LEARNING_RATE):
        target = pixels([draw(random_scene(rng, shapes)) for _ in range(VAE_BATCH)])
        posterior = vae.encode(target).latent_dist
        restored = vae.decode(posterior.sample()).sample
        make(F.mse_loss(restored, target) + F.l1_loss(restored, target) + 1e-6 * posterior.kl().mean())


@torch.no_grad()
def set_latent_scale(vae: AutoencoderKL, sample: Tensor) -> None:
    """Fold a factor into the two 1×1 convolutions so that SD 1's scaling factor gives unit variance."""
    spread = vae.encode(sample).latent_dist.mean.std().item() * SD1_SCALING_FACTOR
    mean, log_variance = slice(0, 4), slice(4, 8)
    vae.quant_conv.weight[mean] /= spread
    vae.quant_conv.bias[mean] /= spread
    vae.quant_conv.bias[log_variance] -= 2 * math.log(spread)
    vae.post_quant_conv.weight *= spread


def train_unet(pipeline: StableDiffusionPipeline, folder: Path, lesson: Lesson) -> StableDiffusionPipeline:
    """ε-prediction with SD 1's noise schedule and caption dropout; saves and returns the averaged weights' pipeline."""
    torch.manual_seed(lesson.seed)
    rng = random.Random(lesson.seed)
    unet, text_encoder, vae = pipeline.unet, pipeline.text_encoder, pipeline.vae
    scenes, outlines = scenes_of(lesson, rng)
    pages = [range(i, min(i + 100, len(scenes))) for i in range(0, len(scenes), 100)]
    with torch.no_grad():
        latents = torch.cat(
            [
                vae.encode(pixels([draw(scenes[i], outlines.get(scenes[i].shape)) for i in page])).latent_dist.mean
                for page in pages
            ]
        )
    latents *= SD1_SCALING_FACTOR
    averaged = copy.deepcopy(pipeline)
    averages = [*averaged.unet.parameters(), *averaged.text_encoder.parameters()]
    for step, make in training(lesson.name, [unet, text_encoder], lesson.steps, lesson.learning_rate):
        chosen = [rng.randrange(len(scenes)) for _ in range(UNET_BATCH)]
        captions = ["" if rng.random() < CAPTION_DROPOUT else random_caption(scenes[i], rng) for i in chosen]
        tokens = pipeline.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        clean = latents[chosen]
        noise = torch.randn_like(clean)
        timesteps = torch.randint(0, 1000, (UNET_BATCH,))
        noisy = pipeline.scheduler.add_noise(clean, noise, timesteps)
        prediction = unet(noisy, timesteps, text_encoder(tokens).last_hidden_state).sample
        make(F.mse_loss(prediction, noise))
        decay = min(EMA_DECAY, (step + 1) / (step + 10))
        with torch.no_grad():
            for average, live in zip(averages, [*unet.parameters(), *text_encoder.parameters()], strict=True):
                average.lerp_(live, 1 - decay)
        if (step + 1) % REPORT_EVERY == 0:
            print(f"{lesson.name} {step + 1}: {describe(score(averaged))}", flush=True)
    save_in_half(averaged, folder)
    # As it will be read again, so that a start that was interrupted ends in the same model.
    return load(folder)


def scenes_of(lesson: Lesson, rng: random.Random) -> tuple[list[Scene], dict[str, Outline]]:
    """The pictures of a lesson, and the outlines of its made-up words."""
    if not lesson.words:
        return [random_scene(rng) for _ in range(lesson.pictures)], {}
    outlines = {made_up_word(rng): random_outline(rng) for _ in range(lesson.words)}
    half = lesson.pictures // 2
    known = [random_scene(rng) for _ in range(half)]
    return known + [random_scene(rng, tuple(outlines)) for _ in range(half)], outlines


def made_up_word(rng: random.Random) -> str:
    while True:
        word = "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(3, 6)))
        if word not in (*SHAPES, NEW_SHAPE, POINTED_SHAPE, *COLORS):
            return word


def random_outline(rng: random.Random) -> Outline:
    """Three to nine corners around the middle, left sharp or rounded off, filling [-1, 1] at least one way."""
    count = rng.randint(3, 9)
    turn = rng.uniform(0, 2 * math.pi)
    points = []
    for corner in range(count):
        angle = turn + 2 * math.pi * (corner + rng.uniform(-0.3, 0.3)) / count
        length = rng.uniform(0.35, 1)
        points.append((length * math.sin(angle), length * math.cos(angle)))
    for _ in range(rng.choice((0, 0, 1, 3))):
        points = corners_cut(points)
    reach = max(max(abs(x), abs(y)) for x, y in points)
    return [(x / reach, y / reach) for x, y in points]


def corners_cut(points: Outline) -> Outline:
    """A rounder outline: each side keeps its middle half (Chaikin 1974)."""
    following = [*points[1:], points[0]]
    return [
        (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
        for a, b in zip(points, following, strict=True)
        for share in (0.25, 0.75)
    ]


def save_in_half(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    parts = Parts(
        denoiser=pipeline.unet,
        vae=pipeline.vae,
        text_encoders=[pipeline.text_encoder],
        tokenizers=[pipeline.tokenizer],
        scheduler=config_of(pipeline.scheduler),
    )
    save_folder(folder, StableDiffusionPipeline, parts, torch.float16, safe=True)


def load(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sd1_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def score(pipeline: StableDiffusionPipeline, count: int = 100) -> tuple[float, float]:
    """Share of pictures with (the right shape, the right shape in the right colour), in [0, 1]."""
    rng = random.Random(SEED + 3)
    scenes = [random_scene(rng) for _ in range(count)]
    pictures = pipeline(
        [scene.caption() for scene in scenes],
        num_inference_steps=20,
        guidance_scale=4.0,
        height=SIZE,
        width=SIZE,
        generator=torch.Generator().manual_seed(SEED),
    ).images
    verdicts = [judge(picture) for picture in pictures]
    right_shape = [v.shape == s.shape for v, s in zip(verdicts, scenes, strict=True)]
    right_both = [r and v.color == s.color for r, v, s in zip(right_shape, verdicts, scenes, strict=True)]
    return sum(right_shape) / count, sum(right_both) / count


def main(folder: Path = MODEL_FOLDER) -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    tokenizer = make_tokenizer()
    print(f"tokenizer: {len(tokenizer)} pieces; {NEW_SHAPE!r} is {tokenizer.tokenize(NEW_SHAPE)}")

    first = folder / SHAPES_LESSON.name
    if first.is_dir():
        pipeline = load(first)
        print(f"first lesson: taken from {first}")
    else:
        pipeline = StableDiffusionPipeline(
            vae=load_or_train_vae(folder / "vae"),
            unet=make_unet(),
            text_encoder=make_text_encoder(tokenizer),
            tokenizer=tokenizer,
            scheduler=sd1_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.set_progress_bar_config(disable=True)
        pipeline = train_unet(pipeline, first, SHAPES_LESSON)
    pipeline = train_unet(pipeline, folder, OUTLINES_LESSON)
    save_tokenizer(tokenizer, folder / "tokenizer")  # anew: it has been used since, and remembers how
    forget_origin(folder)
    shutil.rmtree(first)
    print(f"written to {folder}: {describe(score(pipeline))}")


def forget_origin(folder: Path) -> None:
    """Take out of the configurations where the lesson before was read from: the model is the same on every machine."""
    for file in folder.rglob("*.json"):
        config = json.loads(file.read_text(encoding="utf-8"))
        if config.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def load_or_train_vae(folder: Path) -> AutoencoderKL:
    if folder.is_dir():
        print(f"vae: taken from {folder}")
        return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32)
    vae = make_vae()
    train_vae(vae)
    rng = random.Random(SEED + 4)
    scenes = [random_scene(rng) for _ in range(200)]
    sample = pixels([draw(scene) for scene in scenes])
    set_latent_scale(vae, sample)
    with torch.no_grad():
        restored = vae.decode(vae.encode(sample).latent_dist.mean).sample.clamp(-1, 1)
    error = (restored - sample).abs().mean().item()
    verdicts = [judge(to_picture(image)) for image in restored]
    right = sum(
        (v.shape, v.color, v.ground) == (s.shape, s.color, s.ground) for v, s in zip(verdicts, scenes, strict=True)
    )
    print(f"vae: mean error {error:.3f}; {right} of 200 restored pictures judged right", flush=True)
    vae.save_pretrained(folder)
    return vae


def describe(shares: tuple[float, float]) -> str:
    shape, both = shares
    return f"of 100 pictures, {shape:.0%} show the right shape, {both:.0%} in the right colour too"


def to_picture(image: Tensor) -> Image.Image:
    """(3, H, W) in [-1, 1] → a PIL picture."""
    return VaeImageProcessor().postprocess(image[None], output_type="pil")[0]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
