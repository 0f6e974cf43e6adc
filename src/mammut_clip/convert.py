"""`mammut-clip convert`: weights from anywhere, written as open_clip and LAION's open_clip_mammut read them."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mammut_clip.api import DescribedModel, create_model, describe_model, resolve_point
from mammut_clip.config.errors import InputError
from mammut_clip.models.exchange import fitting_models, save_weights
from mammut_clip.models.exchange.fit import shapes_of
from mammut_clip.models.exchange.weights import WEIGHT_SUFFIXES, read_published
from mammut_clip.open_clip_folder import is_model_folder, read_preprocessing, write_model_folder


@dataclass(frozen=True)
class Converted:
    """What was written."""

    model: str
    family: str
    parameters: int
    written: tuple[Path, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """As a document."""
        written = [str(path) for path in self.written]
        return {"model": self.model, "family": self.family, "parameters": self.parameters, "written": written}


def convert(source: Path, out: Path, model: str | None = None) -> Converted:
    """Write the weights at `source` to `out`.

    `source`: whatever create_model takes as weights. `model`: a name or a YAML file; None where `source` says it, as
    run directories, their checkpoints and folders with open_clip_config.json do. `out`: a name that ends in
    .safetensors, .pt, .pth or .bin becomes one file of weights, any other a folder with its config. Raises InputError
    where `out` exists, or the weights cannot be read, do not fit the model or leave open which it is.
    """
    if out.exists() or out.is_symlink():
        raise InputError(f"{out}: exists already, and nothing is overwritten; remove it, or give another --out")
    source = resolve_point(source)
    described = _describe(source, model)
    built = create_model(described.config, source)
    if out.suffix in WEIGHT_SUFFIXES:
        save_weights(built, out)
        written = [out]
    else:
        written = write_model_folder(out, built, described.config, described.preprocessing)
    parameters = sum(parameter.numel() for parameter in built.parameters())
    return Converted(described.name, described.config.family, parameters, tuple(written))


def _describe(source: Path, model: str | None) -> DescribedModel:
    if model is not None:
        described = describe_model(model)
        if is_model_folder(source):
            return replace(described, preprocessing=read_preprocessing(source))
        return described
    if source.is_dir():
        return describe_model(source)
    fitting = fitting_models(shapes_of(read_published(source)))
    found = f"they fit {' and '.join(fitting)}" if fitting else "they fit no model that comes with the program"
    raise InputError(f"{source}: weights do not say which model they are of; give --model ({found})")
