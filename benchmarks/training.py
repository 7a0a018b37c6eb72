"""The engine beside a bare loop of diffusers and peft, on the same random-weight model.

python -m benchmarks.training [--size sd15|pocket] [--steps 12] [--resolution 256] [--precision no|fp16|bf16]

Each side is a process of its own, measured in turn: seconds from its start to its first step, seconds
a step (mean, the first two left out), and its peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
PICTURES = 8
WARMUP_STEPS = 2


def make_model(folder: Path, size: str) -> None:
    """A model of SD 1.5's full size, or the built-in one, as a diffusers folder."""
    from engine.demo.demo import MODEL_FOLDER

    if size == "pocket":
        shutil.copytree(MODEL_FOLDER, folder)
        return
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from engine.models.sd import CONFIGS

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(MODEL_FOLDER / "tokenizer")
    StableDiffusionPipeline(
        vae=AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIGS[1] / "vae")),
        unet=UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS[1] / "unet")),
        text_encoder=CLIPTextModel(CLIPTextConfig.from_pretrained(CONFIGS[1] / "text_encoder")),
        tokenizer=tokenizer,
        scheduler=DDIMScheduler.from_config(DDIMScheduler.load_config(CONFIGS[1] / "scheduler")),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16).save_pretrained(folder)


def make_pictures(folder: Path, resolution: int) -> None:
    from engine.demo.shapes import draw, random_scene

    rng = random.Random(0)
    folder.mkdir(parents=True)
    for number in range(PICTURES):
        scene = random_scene(rng)
        draw(scene).resize((resolution, resolution)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(scene.caption(), encoding="utf-8")


def bare_loop(work: Path, given: argparse.Namespace) -> None:
    """What one writes by hand: load, cache latents, attach LoRA, step.  Prints a line a step."""
    import torch
    from accelerate import Accelerator
    from diffusers import DDPMScheduler, StableDiffusionPipeline
    from diffusers.image_processor import VaeImageProcessor
    from peft import LoraConfig
    from PIL import Image

    torch.set_num_threads(given.threads)
    accelerator = Accelerator(mixed_precision=given.precision, cpu=not torch.cuda.is_available())
    device = accelerator.device
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(given.precision, torch.float32)
    pipeline = StableDiffusionPipeline.from_pretrained(work / "model", torch_dtype=dtype, safety_checker=None)
    unet, vae, text_encoder = pipeline.unet, pipeline.vae.to(device), pipeline.text_encoder
    noise_scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    for module in (unet, vae, text_encoder):
        module.requires_grad_(False)
    unet_modules = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
    unet.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=unet_modules))
    text_modules = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]
    text_encoder.add_adapter(LoraConfig(r=8, lora_alpha=8, target_modules=text_modules))
    for module in (unet, text_encoder):
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    unet.to(device).train()
    text_encoder.to(device).train()

    processor = VaeImageProcessor()
    latents, captions = [], []
    for file in sorted((work / "img" / "100_shapes").glob("*.png")):
        with torch.no_grad():
            pixels = processor.preprocess(Image.open(file)).to(device, dtype)
            latents.append(vae.encode(pixels).latent_dist.sample() * vae.config.scaling_factor)
        captions.append(file.with_suffix(".txt").read_text(encoding="utf-8"))
    vae.to("cpu")
    parameters = [p for module in (unet, text_encoder) for p in module.parameters() if p.requires_grad]
    optimizer = accelerator.prepare(torch.optim.AdamW(parameters, lr=1e-4))
    for step in range(given.steps):
        chosen = [(step * given.batch + i) % PICTURES for i in range(given.batch)]
        clean = torch.cat([latents[i] for i in chosen]).float()
        noise = torch.randn_like(clean)
        t = torch.randint(0, 1000, (len(clean),), device=device)
        noisy = noise_scheduler.add_noise(clean, noise, t)
        tokens = pipeline.tokenizer([captions[i] for i in chosen], padding="max_length", truncation=True,
                                    return_tensors="pt").input_ids  # fmt: skip
        with accelerator.autocast():
            prediction = unet(noisy.to(dtype), t, text_encoder(tokens.to(device)).last_hidden_state).sample
        loss = torch.nn.functional.mse_loss(prediction.float(), noise)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        print(json.dumps({"kind": "step", "time": time.time()}), flush=True)
    if device.type == "cuda":
        print(json.dumps({"kind": "memory", "bytes": torch.cuda.max_memory_allocated(device)}), flush=True)


def measure(command: list[str], environment: dict[str, str], events: Path | None) -> dict[str, float]:
    """Run one side; times come from the steps that it tells of, on its output or in its events."""
    began = time.time()
    child = psutil.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = 0

    def watch() -> None:
        nonlocal peak
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            try:
                peak = max(peak, child.memory_info().rss)
            except psutil.Error:
                return
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    output, _ = child.communicate()
    watcher.join()
    if child.returncode:
        raise RuntimeError(f"{command} ended with {child.returncode}")
    text = output.decode() if events is None else events.read_text(encoding="utf-8")
    told = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    steps = [event["time"] for event in told if event["kind"] == "step"]
    gpu = [event["bytes"] for event in told if event["kind"] == "memory"]
    gpu += [event["memory"] for event in told if event["kind"] == "step" and event.get("memory")]
    between = [after - before for before, after in zip(steps[WARMUP_STEPS:], steps[WARMUP_STEPS + 1 :], strict=False)]
    return {
        "first step": steps[0] - began,
        "step": statistics.mean(between),
        "memory": float(max(gpu)) if gpu and _has_gpu() else float(peak),
    }


def _has_gpu() -> bool:
    return shutil.which("nvidia-smi") is not None


def engine_side(work: Path, given: argparse.Namespace) -> dict[str, float]:
    from engine.runs.folder import RunFolder
    from engine.settings.training import TrainingSettings

    settings = TrainingSettings().with_values(
        {
            "pretrained_model_name_or_path": str(work / "model"), "train_data_dir": str(work / "img"),
            "output_dir": str(work / "out"), "output_name": "benchmark", "overwrite": True,
            "max_resolution": f"{given.resolution},{given.resolution}", "train_batch_size": given.batch,
            "max_train_steps": given.steps, "save_every_n_epochs": 0, "optimizer": "AdamW", "network_alpha": 8,
            "mixed_precision": given.precision, "num_cpu_threads_per_process": given.threads, "seed": 1,
        }
    )  # fmt: skip
    run = RunFolder.create("train", settings.model_dump_json(), "benchmark", work / "runs")
    return measure([sys.executable, "-m", "engine", "work", str(run.path)], _environment(given), run.events_file)


def bare_side(work: Path, given: argparse.Namespace) -> dict[str, float]:
    arguments = [f"--{name}={value}" for name, value in vars(given).items() if name != "bare"]
    command = [sys.executable, "-m", "benchmarks.training", *arguments, "--bare", str(work)]
    return measure(command, _environment(given), None)


def _environment(given: argparse.Namespace) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": str(given.threads), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=("sd15", "pocket"), default="sd15")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--precision", default="no")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.bare:
        bare_loop(given.bare, given)
        return
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_model(work / "model", given.size)
        make_pictures(work / "img" / "100_shapes", given.resolution)
        sides = {"engine": [], "bare loop": []}
        for _ in range(given.rounds):
            sides["engine"].append(engine_side(work, given))
            sides["bare loop"].append(bare_side(work, given))
    print(f"{given.size}, {given.resolution}², batch {given.batch}, precision {given.precision}, "
          f"{given.steps} steps, medians of {given.rounds} rounds taken in turn")  # fmt: skip
    for figure, unit, scale in (("first step", "s", 1), ("step", "s", 1), ("memory", "GiB", 2**30)):
        ours, bare = (statistics.median(side[figure] for side in sides[name]) / scale for name in sides)
        print(f"{figure}: engine {ours:.3f} {unit}, bare loop {bare:.3f} {unit}, ratio {ours / bare:.3f}")


if __name__ == "__main__":
    main()
