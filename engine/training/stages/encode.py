"""Fifth stage: captions and prompts become conditioning, then the denoiser takes the text encoders' place."""

from __future__ import annotations

from dataclasses import dataclass

from engine.data.captions import only_wordings, vary
from engine.training.caption_encoder import CaptionEncoder
from engine.training.caption_lengths import cut_prompts, truncated
from engine.training.caption_progress import CaptionProgress
from engine.training.conditioning import CaptionConditioning
from engine.training.held_out_captions import HeldOutCaptions
from engine.training.kept_captions import KeptCaptions, kept_captions
from engine.training.placement import Placement
from engine.training.remembered import remember_t5
from engine.training.samples import Sampler
from engine.training.stages.begin import Begun
from engine.training.stages.read import Data


@dataclass(frozen=True)
class Encoded:
    """held_out: of the held-out pictures, None if there are none."""

    conditioning: CaptionConditioning
    held_out: CaptionConditioning | None
    sampler: Sampler
    placement: Placement


def encode(begun: Begun, data: Data, encoder: CaptionEncoder) -> Encoded:
    """Encode once what can be, and move to the device what the steps need.  Raises Failure, Stopped."""
    settings, device = begun.settings, begun.device
    _warn_of_cut_captions(begun, data, encoder)
    kept = _kept(begun, data, encoder)
    items = data.pictures.held_out.items if data.pictures.held_out else []
    held_out = HeldOutCaptions(encoder, settings, items, begun.accelerator) if items else None
    placement = Placement(encoder.parts, settings, device, begun.precision.frozen)
    progress = CaptionProgress(begun.report, begun.run.stop_requested)
    if kept is None or kept.needs_encoders or (held_out and held_out.needs_encoders) or settings.samples.prompts():
        placement.text_encoders()
    if encoder.learns:
        _remember_t5(begun, data, encoder, held_out=held_out, progress=progress)
    sampler = Sampler(encoder, settings, begun.run, seed=begun.seed, autocast=begun.accelerator.autocast)
    conditioning = CaptionConditioning(
        encoder,
        data.captions,
        data.variations,
        steps=data.plan.steps,
        device=device,
        kept=kept,
        progress=progress,
    )
    of_held_out = held_out.conditioning(device, progress) if held_out else None
    # Before the denoiser is moved: the text encoders and denoiser of a large model would not fit together.
    if all(each.is_encoded for each in (conditioning, of_held_out) if each):
        placement.text_encoders_away()
    placement.denoiser()
    return Encoded(conditioning, of_held_out, sampler, placement)


def _warn_of_cut_captions(begun: Begun, data: Data, encoder: CaptionEncoder) -> None:
    limit = encoder.family.caption_limit(encoder.parts, encoder.reading)
    if data.sets:
        too_long = cut_prompts(limit, data.captions)
    else:
        too_long = truncated(limit, data.pictures.items, data.captions, encoder.reading.weighted)
    if too_long:
        begun.report.warn(too_long)


def _kept(begun: Begun, data: Data, encoder: CaptionEncoder) -> KeptCaptions | None:
    """Captions cached in files, if the settings ask for that and there are pictures for these to lie beside."""
    if data.sets:
        return None
    kept = kept_captions(
        encoder,
        begun.settings,
        pictures=[item.picture for item in data.pictures.items],
        captions=data.captions,
        variations=data.variations,
        warn=begun.report.warn,
        accelerator=begun.accelerator,
    )
    if kept and kept.foreign:
        begun.report.warn(
            f"{kept.foreign} encoded captions come from another program's files, which do not say which captions and "
            "text encoders they belong to. Delete the files if these were different."
        )
    return kept


def _remember_t5(
    begun: Begun, data: Data, encoder: CaptionEncoder, *, held_out: HeldOutCaptions | None, progress: CaptionProgress
) -> None:
    """If every wording is known before the first step."""
    variations = data.variations
    if vary(data.captions, variations):
        return
    prompts = [text for prompt in begun.settings.samples.prompts() for text in (prompt.text, prompt.negative)]
    texts = [*only_wordings(data.captions, variations), "", *prompts, *begun.settings.new_words()]
    remember_t5(encoder, texts, begun.device, progress, further=held_out.texts if held_out else ())
