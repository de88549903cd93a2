"""The registry of data sets: what ``config/datasets.yaml`` says about each one, checked.

This module is imported while a run is planned, so it opens files with h5py at most and never reads counts.
"""

from __future__ import annotations

import dataclasses
import gzip
import os
import re
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any, Mapping
from urllib.parse import unquote, urlsplit

import h5py

from benchmarks.documents import load_yaml, schema_problems
from benchmarks.errors import InputError, did_you_mean, one_line
from benchmarks.formats import MODALITIES, ordered_modalities

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "workflow" / "schemas" / "datasets.schema.yaml"

FORMATS = (
    "h5mu",
    "h5ad_pair",
    "10x_h5",
    "matrix_market",
    "matrix_market_tables",
    "dense_table",
    "h5ad_feature_types",
    "combined",
    "simulated",
)
"""Known formats; ``docs/datasets.md`` has an example of each."""

SINGLE = "data"
"""Role of the file of a data set that is one file (or one folder)."""

TRIPLET = ("matrix", "barcodes", "features")
"""Roles of the files of one matrix-market triplet."""

TABLES = ("matrix", "cells", "features")
"""Roles of the files of ``matrix_market_tables``."""

DENSE = ("counts", "cells", "features")
"""Roles of the files of ``dense_table``; the tables of cells and features are there where the counts lack names."""

SIDE_TABLES = ("annotations", "label_names")
"""Roles of tables beside the counts."""

_TRIPLET_ENDINGS = {
    "matrix": ("matrix.mtx",),
    "barcodes": ("barcodes.tsv", "barcodes.txt"),
    "features": ("features.tsv", "genes.tsv", "peaks.bed"),
}
_ONLY_FOR = {
    "simulate": ("simulated",),
    "seed": ("simulated",),
    "modality_names": ("h5mu", "10x_h5", "matrix_market", "h5ad_feature_types"),
    "counts_from": ("h5mu", "h5ad_pair", "h5ad_feature_types"),
    "feature_type_column": ("h5ad_feature_types",),
    "table": ("dense_table", "matrix_market_tables"),
    "parts": ("combined",),
    "sample_separator": ("combined",),
    "merge_peaks": ("combined",),
}
_ONLY_FOR_TABLE = {
    "cells_key": ("matrix_market_tables", "dense_table"),
    "features_key": ("matrix_market_tables", "dense_table"),
    "header": ("dense_table",),
    "row_names": ("dense_table",),
    "cells_in": ("dense_table",),
    "drop": ("dense_table",),
}
_NOT_WITH_PARTS = ("path", "url", "sha256", "cell_names", "split_features")
_PROSE = ("description", "source", "licence", "citation", "organism")


@dataclass(frozen=True)
class Part:
    """Some modalities of some cells, in files and a format of their own (format ``combined``).

    Attributes
    ----------
    entry
        Files, format and modalities, as a data set of its own would have them.
    sample
        Sample that the cells come from; ``None`` where all parts hold the same cells.
    """

    entry: DatasetEntry
    sample: str | None = None


@dataclass(frozen=True)
class DatasetEntry:
    """One data set of the registry.

    Attributes
    ----------
    name
        Its name: lower-case letters, digits and underscores.
    format
        One of :data:`FORMATS`.
    modalities
        Modalities to load, in the order of :data:`benchmarks.formats.MODALITIES`.
    path
        Role -> path. The role is ``data`` for formats of one file (or folder), the modality for ``h5ad_pair``,
        and ``matrix``, ``barcodes``, ``features`` (behind ``<modality>.`` where each has its own) for
        ``matrix_market``. A relative path lies in the data folder or beside the registry. With a URL, the path
        is where the download goes in the data folder.
    url, sha256
        Role -> URL (http, https, file) and role -> SHA-256 of its file. A checksum without a URL is verified too.
    labels, batch, site, donor, condition
        Columns of the cell table that become ``cell_type``, ``batch``, ``site``, ``donor``, ``condition``. Where
        ``None``, a column of the standard name is taken if there is one.
    pseudotime
        Columns of the cell table that become ``pseudotime_*``; empty: those that are named so already.
    modality_names
        Modality -> its name in the file, where it is not one of the usual ones.
    counts_from
        Layer that holds the raw counts; ``X``; ``raw``. ``None``: layer ``counts`` where there is one, else ``X``.
    feature_type_column
        Column of the feature table that says the modality (``h5ad_feature_types``).
    annotations, annotations_key
        Table (TSV or CSV, plain or gz) of further columns for the cells, and its column of cell names
        (``None``: the first).
    n_cells
        Declared number of cells, for planning while the file is not there.
    origin
        Role -> URL that the file can be had from by hand. For files without a known checksum: nothing is fetched
        from there, but the message that a file is missing says so.
    cell_names
        How the names of the cells are brought into the form of the other files: ``replace`` (text -> text),
        then ``remove_suffix``, ``prefix``, ``suffix``; literal text, no patterns.
    split_features
        Separator in names of features that are ``id<separator>symbol``.
    table
        How the tables of ``dense_table`` and ``matrix_market_tables`` are laid out: ``cells_key``,
        ``features_key`` (columns of names), ``header``, ``row_names``, ``cells_in``, ``drop``.
    parts
        Parts of a ``combined`` data set; :attr:`path`, :attr:`url` and :attr:`sha256` then have their files, the
        number of the part before the role (``0.matrix``).
    sample_separator, merge_peaks
        How cells of several samples are named (``sample<separator>name``), and whether overlapping peaks of the
        samples become one.
    unlabelled
        Labels that mean that there is none.
    label_names
        Table that says what the labels stand for: ``table``, its columns ``key`` and ``name``, and ``where``
        (column -> value) for its rows.
    filters
        The filters of the paper, see :mod:`benchmarks.datasets.filters`.
    simulate, seed
        Parameters and seed of the simulator (format ``simulated``).
    organism, genome, description, source, licence, citation
        For people; ``genome`` is also for models that need coordinates.
    registry
        The file that the entry was read from: for messages and as a base of relative paths. It is no field, so
        that :func:`dataclasses.asdict` is the same on every machine.
    """

    name: str
    format: str
    modalities: tuple[str, ...]
    path: Mapping[str, str] = field(default_factory=dict)
    url: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    batch: str | None = None
    site: str | None = None
    donor: str | None = None
    condition: str | None = None
    pseudotime: tuple[str, ...] = ()
    modality_names: Mapping[str, str] = field(default_factory=dict)
    counts_from: str | None = None
    feature_type_column: str = "feature_types"
    annotations: str | None = None
    annotations_key: str | None = None
    n_cells: int | None = None
    origin: Mapping[str, str] = field(default_factory=dict)
    cell_names: Mapping[str, Any] = field(default_factory=dict)
    split_features: str | None = None
    table: Mapping[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    sample_separator: str = "_"
    merge_peaks: bool = False
    unlabelled: tuple[str, ...] = ()
    label_names: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, Any] = field(default_factory=dict)
    simulate: Mapping[str, Any] | None = None
    seed: int = 0
    organism: str | None = None
    genome: str | None = None
    description: str | None = None
    source: str | None = None
    licence: str | None = None
    citation: str | None = None
    registry: InitVar[Path | None] = None

    def __post_init__(self, registry: Path | None) -> None:
        object.__setattr__(self, "registry", None if registry is None else Path(registry))

    @property
    def where(self) -> str:
        """File and key of this entry, the start of every message about it."""
        return f"{self.registry}: {self.name}" if self.registry else f"data set {self.name!r}"

    def identity(self) -> dict[str, Any]:
        """What determines the prepared data, JSON-like: all fields but those that are only for people or planning."""
        content = dataclasses.asdict(self)
        for part in content["parts"]:
            part["entry"] = _determining(part["entry"])
        return _determining(content)

    def format_of(self, role: str) -> str:
        """Format of the file of that role: of its part, where the data set has parts; ``table`` for side tables."""
        if role in SIDE_TABLES:
            return "table"
        return self.parts[int(role.partition(".")[0])].entry.format if self.parts else self.format

    def absent(self, role: str, path: Path) -> str:
        """The message that a file is not there, with the place to get it from where that is known."""
        key = role if role in SIDE_TABLES else f"path{_suffix(role)}"
        where = f"get it from {self.origin[role]} and put it there" if role in self.origin else "put it there"
        if role not in self.origin and self.source:
            where += f" (made from {self.source})"
        return f"{self.where}.{key}: {path}: no such file; {where}, correct the path, or set --config data_dir=FOLDER"

    def resolve(
        self, data_dir: str | os.PathLike | None, downloads: str | os.PathLike | None = None
    ) -> dict[str, Path]:
        """Role -> path of each file, whether it is there or not; side tables have roles of :data:`SIDE_TABLES`.

        Parameters
        ----------
        data_dir
            The data folder, if one is set.
        downloads
            Where downloads go when there is no data folder.

        Raises
        ------
        InputError
            If a place depends on the data folder and none is set.
        """
        places = {}
        for role in dict.fromkeys([*self.path, *self.url]):
            path, url = self.path.get(role), self.url.get(role)
            if url is None:
                places[role] = self._find(f"path{_suffix(role)}", path, data_dir)
            elif path is not None and Path(path).is_absolute():
                places[role] = Path(path)
            else:
                base = data_dir if data_dir is not None else downloads
                if base is None:
                    raise InputError(
                        f"{self.where}: needs a folder for its download; set one with --config data_dir=FOLDER"
                    )
                places[role] = Path(base) / (path or download_name(url, self.sha256[role]))
        if self.annotations is not None:
            places["annotations"] = self._find("annotations", self.annotations, data_dir)
        if self.label_names:
            places["label_names"] = self._find("label_names.table", self.label_names["table"], data_dir)
        return places

    def _find(self, key: str, path: str, data_dir: str | os.PathLike | None) -> Path:
        """Where a local path leads: in the data folder first, then beside the registry."""
        if Path(path).is_absolute():
            return Path(path)
        candidates = [
            Path(base) / path for base in (data_dir, self.registry and self.registry.parent) if base is not None
        ]
        for candidate in candidates:
            if is_there(candidate):
                return candidate
        if data_dir is None:
            raise InputError(
                f"{self.where}.{key}: {path!r} lies in the data folder, and none is set; "
                "set it with --config data_dir=FOLDER (or data_dir in the study file)"
            )
        return candidates[0]

    def local_files(self, data_dir: str | os.PathLike | None) -> list[Path]:
        """Files on this machine that the data set is made from, folders resolved into the files in them.

        Downloads are not among them, and neither is anything if the files are missing and :attr:`n_cells` is
        declared (a plan can then be made without the data; preparing it says what is missing).

        Raises
        ------
        InputError
            If a file is missing and the number of cells is not declared.
        """
        if self.format == "simulated" or not self._check_present(data_dir):
            return []
        files = []
        for role, path in self.resolve(data_dir, downloads=Path("downloads")).items():
            if role in self.url:
                continue
            files += list(find_triplet(path, self.where).values()) if os.path.isdir(path) else [path]
        return files

    def _check_present(self, data_dir: str | os.PathLike | None) -> bool:
        """Whether all local files are there; raise if they are not and no size is declared."""
        try:
            for role, path in self.resolve(data_dir, downloads=Path("downloads")).items():
                if role not in self.url and not is_there(path):
                    raise InputError(self.absent(role, path))
        except InputError:
            if self.n_cells is None:
                raise
            return False
        return True

    def n_cells_available(self, data_dir: str | os.PathLike | None = None) -> int | None:
        """Number of cells in the files, before validation drops any; cheap, without reading counts.

        Returns
        -------
        int or None
            The declared number where the files are not there (yet); ``None`` if that is unknown too.

        Raises
        ------
        InputError
            If a local file is missing (and no size is declared), or is not of the format.
        """
        if self.format == "simulated":
            from benchmarks.datasets.simulate import SimulationParameters

            return SimulationParameters.from_mapping(self.simulate, f"{self.where}.simulate").n_cells
        if not self._check_present(data_dir):
            return self.n_cells
        if self.parts:  # Which cells the parts share is known once their names were brought into one form.
            return self.n_cells
        places = self.resolve(data_dir, downloads=Path("downloads"))
        if any(not is_there(path) for path in places.values()):
            return self.n_cells
        counted = [_count_cells(self.format, role, path, self.where) for role, path in places.items()]
        known = [number for number in counted if number is not None]
        return min(known) if known else self.n_cells


def _determining(content: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in content.items() if key not in (*_PROSE, "n_cells", "origin")}


def _suffix(role: str) -> str:
    return "" if role == SINGLE else f".{role}"


def download_name(url: str, sha256: str) -> str:
    """Relative path of a download: by content, so that files of one name do not collide, and harmless as a name."""
    last = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    name = re.sub(r"[^A-Za-z0-9._+-]", "_", last).lstrip(".") or "file"
    return f"downloads/{sha256[:16]}/{name[-100:]}"


def is_there(path: str | os.PathLike) -> bool:
    """Whether a file or folder is there: no device or pipe, and no error for a path that no system would take."""
    return os.path.isfile(path) or os.path.isdir(path)


def find_triplet(folder: Path, where: str) -> dict[str, Path]:
    """Role -> file of the matrix-market triplet in `folder`; GEO's prefixes and ``.gz`` are understood.

    Raises
    ------
    InputError
        If a file of the triplet is missing, or there are several.
    """
    found = {}
    names = sorted(item.name for item in folder.iterdir() if item.is_file())
    for role, endings in _TRIPLET_ENDINGS.items():
        fitting = [name for name in names if name.removesuffix(".gz").endswith(endings) and not name.startswith(".")]
        if len(fitting) != 1:
            problem = (
                f"several files ({', '.join(fitting[:3])})"
                if fitting
                else f"no file ending in {' or '.join(endings)}[.gz]"
            )
            raise InputError(
                f"{where}: {folder}: {problem} for the {role}; name the files under path: {{matrix: ..., barcodes: ..., features: ...}}"
            )
        found[role] = folder / fitting[0]
    return found


def open_text(path: Path) -> Any:
    """Open a text file, decompressing if its first bytes say that it is gzip."""
    with open(path, "rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else open(path, encoding="utf-8")


def is_gzip(path: Path) -> bool:
    """Whether the file is gzip-compressed, by its first bytes."""
    with open(path, "rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _count_cells(format: str, role: str, path: Path, where: str) -> int | None:
    if role in SIDE_TABLES or format in ("dense_table", "matrix_market_tables"):
        return None
    try:
        if format == "matrix_market":
            if os.path.isdir(path):
                path = find_triplet(path, where)["barcodes"]
            elif not role.endswith("barcodes"):
                return None
            with open_text(path) as stream:
                return sum(1 for line in stream if line.strip())
        if os.path.isdir(path):
            raise InputError(f"{where}: {path}: a folder; name the {format} file in it")
        if is_gzip(path):
            return None
        with h5py.File(path, "r") as file:
            if format == "10x_h5":
                return int(file["matrix/barcodes"].shape[0])
            return _table_length(file["obs"])
    except InputError:
        raise
    except Exception as error:  # Whatever a damaged file makes h5py or zlib raise is about that file.
        raise InputError(
            f"{where}: {path}: not a readable {format} file ({one_line(' '.join(str(error).split()))}); "
            "fetch it again or correct format"
        ) from error


def _table_length(table: h5py.Group | h5py.Dataset) -> int:
    """Number of rows of an AnnData table on disk, in all of its historical forms."""
    if isinstance(table, h5py.Dataset):
        return int(table.shape[0])
    name = table.attrs.get("_index", "_index")
    index = table[name.decode() if isinstance(name, bytes) else name]
    return int((index["values"] if isinstance(index, h5py.Group) else index).shape[0])


# --------------------------------------------------------------------------------------------------------
# Reading the registry
# --------------------------------------------------------------------------------------------------------


def load_registry(path: str | os.PathLike) -> dict[str, DatasetEntry]:
    """Read and check a registry of data sets.

    Raises
    ------
    InputError
        One line for each problem, with file, key, value and remedy: not YAML, against the schema, or keys that
        do not fit together.
    """
    path = Path(path)
    content = load_yaml(path)
    problems = schema_problems(content, SCHEMA_FILE, str(path))
    if problems:
        raise InputError("\n".join(problems))
    entries = {}
    for name, keys in content.items():
        try:
            entries[name] = _make_entry(name, keys, path)
        except InputError as error:
            problems.append(one_line(str(error)))
    if problems:
        raise InputError("\n".join(problems))
    return entries


def get_entry(registry: Mapping[str, DatasetEntry], name: str, path: str | os.PathLike) -> DatasetEntry:
    """The entry of that name; an unknown one is an :class:`InputError` with the closest known name."""
    if name not in registry:
        raise InputError(f"{path}: no data set {name!r}{did_you_mean(name, registry)}")
    return registry[name]


def _flatten(value: str | Mapping[str, Any] | None) -> dict[str, str]:
    """``{role: text}`` from a text (role ``data``), a mapping, or a mapping of mappings (roles ``a.b``)."""
    if value is None:
        return {}
    if isinstance(value, str):
        return {SINGLE: value}
    flat = {}
    for key, item in value.items():
        if isinstance(item, str):
            flat[str(key)] = item
        else:
            flat.update({f"{key}.{inner}": text for inner, text in item.items()})
    return flat


def _make_entry(name: str, keys: Mapping[str, Any], path: Path) -> DatasetEntry:
    where = f"{path}: {name}"
    format = keys["format"]
    for key, formats in _ONLY_FOR.items():
        if key in keys and format not in formats:
            raise InputError(f"{where}.{key}: is for format {' or '.join(formats)}, not {format!r}; remove it")
    if format == "simulated":
        return _make_simulated(name, keys, path)
    if format == "combined":
        return _make_combined(name, keys, path)

    if "modalities" not in keys:
        raise InputError(f"{where}.modalities: missing; list those to load, of {', '.join(MODALITIES)}")
    modalities = tuple(ordered_modalities(keys["modalities"]))
    places, urls, sums = (_flatten(keys.get(key)) for key in ("path", "url", "sha256"))
    if not places and not urls:
        raise InputError(f"{where}.path: missing; give path, or url and sha256")
    roles = tuple(urls or places)
    for other, what in ((places, "path"), (urls, "url"), (sums, "sha256")):
        if other and set(other) != set(roles):
            odd = sorted(set(other) ^ set(roles))[0]
            raise InputError(
                f"{where}.{what}: names other files than the rest ({odd!r}); give the same keys for path, url and sha256"
            )
    _check_roles(where, format, roles, modalities, bool(urls))
    for role, value in sums.items():
        if not re.fullmatch("[0-9a-fA-F]{64}", value):
            raise InputError(
                f"{where}.sha256{_suffix(role)}: {value!r} is not 64 hexadecimal digits; run sha256sum on the file"
            )
    for role, value in urls.items():
        if not _is_url(value):
            raise InputError(f"{where}.url{_suffix(role)}: {value!r} is no http, https or file URL; correct it")
        if not sums:
            raise InputError(f"{where}.sha256: missing; a download needs its checksum (sha256sum of the file)")
    for role, value in places.items():
        if ".." in Path(value).parts and urls:
            raise InputError(
                f"{where}.path{_suffix(role)}: {value!r} leads out of the data folder; name a place inside it"
            )
    for modality in keys.get("modality_names", {}):
        if modality not in modalities:
            raise InputError(
                f"{where}.modality_names.{modality}: not among modalities ({', '.join(modalities)}); add it there or remove it"
            )
    for key in keys.get("table", {}):
        if format not in _ONLY_FOR_TABLE[key]:
            raise InputError(f"{where}.table.{key}: is for format {' or '.join(_ONLY_FOR_TABLE[key])}; remove it")
    origin = _origin(where, keys, roles)
    values = _common_values(where, keys, modalities)
    values.update(
        path=places,
        url=urls,
        sha256={role: value.lower() for role, value in sums.items()},
        origin=origin,
    )
    return DatasetEntry(name=name, registry=path, **values)


def _common_values(where: str, keys: Mapping[str, Any], modalities: tuple[str, ...]) -> dict[str, Any]:
    """Values of the fields that entries of all formats with files have, checked against each other."""
    if "annotations_key" in keys and "annotations" not in keys:
        raise InputError(f"{where}.annotations_key: needs annotations, the table that the column is in; add it")
    for key in ("unlabelled", "label_names"):
        if key in keys and "labels" not in keys:
            raise InputError(f"{where}.{key}: needs labels, the column that it is about; add it")
    for rule in ("min_features", "min_cells", "max_cells", "min_fraction", "top_features"):
        for modality in keys.get("filters", {}).get(rule, {}):
            if modality not in modalities:
                raise InputError(
                    f"{where}.filters.{rule}.{modality}: not among modalities ({', '.join(modalities)}); "
                    "add it there or remove it"
                )
    known = {item.name for item in dataclasses.fields(DatasetEntry)}
    values = {key: value for key, value in keys.items() if key in known}
    values.update(
        modalities=modalities,
        pseudotime=tuple(keys.get("pseudotime", ())),
        unlabelled=tuple(keys.get("unlabelled", ())),
    )
    return values


def _origin(where: str, keys: Mapping[str, Any], roles: tuple[str, ...]) -> dict[str, str]:
    """Role -> URL to get a file from by hand; one text is for the only file, or for all of them (an archive, a page)."""
    given = keys.get("origin", {})
    if isinstance(given, str):
        origin = dict.fromkeys(roles, given)
    else:
        origin = _flatten(given)
        for role in origin:
            if role not in (*roles, *SIDE_TABLES):
                raise InputError(f"{where}.origin{_suffix(role)}: no such file in path; give the same keys as path")
    for role, value in origin.items():
        if not _is_url(value):
            raise InputError(f"{where}.origin{_suffix(role)}: {value!r} is no http, https or file URL; correct it")
    return origin


def _make_combined(name: str, keys: Mapping[str, Any], path: Path) -> DatasetEntry:
    where = f"{path}: {name}"
    for key in _NOT_WITH_PARTS:
        if key in keys:
            raise InputError(f"{where}.{key}: a combined data set has it in its parts; move it there")
    if "parts" not in keys:
        raise InputError(f"{where}.parts: missing; list the parts, each with format, modalities and path")
    parts = []
    for number, content in enumerate(keys["parts"]):
        content = dict(content)
        sample = content.pop("sample", None)
        parts.append(Part(_make_entry(f"{name}.parts[{number}]", content, path), sample))
    if len({part.sample is None for part in parts}) > 1:
        raise InputError(f"{where}.parts: some have a sample and some have none; give each its sample, or none")
    seen: dict[tuple[str | None, str], int] = {}
    for number, part in enumerate(parts):
        for modality in part.entry.modalities:
            if (first := seen.setdefault((part.sample, modality), number)) != number:
                raise InputError(
                    f"{where}.parts[{number}].modalities: {modality!r} of the same sample is in parts[{first}] too; "
                    "give each part its sample, or list the modality once"
                )
    held = {modality for part in parts for modality in part.entry.modalities}
    modalities = tuple(ordered_modalities(keys.get("modalities", sorted(held))))
    if set(modalities) != held:
        raise InputError(
            f"{where}.modalities: {', '.join(modalities)}, but the parts hold {', '.join(ordered_modalities(held))}; "
            "list the same ones"
        )
    values = _common_values(where, keys, modalities)
    for key in ("path", "url", "sha256", "origin"):
        values[key] = {
            f"{number}.{role}": text
            for number, part in enumerate(parts)
            for role, text in getattr(part.entry, key).items()
        }
    values["origin"] = {
        **_origin(where, keys, tuple(dict.fromkeys([*values["path"], *values["url"]]))),
        **values["origin"],
    }
    values["parts"] = tuple(parts)
    return DatasetEntry(name=name, registry=path, **values)


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    usable = text.isascii() and text.isprintable() and " " not in text
    return usable and parts.scheme in ("http", "https", "file") and bool(parts.netloc or parts.scheme == "file")


def _make_simulated(name: str, keys: Mapping[str, Any], path: Path) -> DatasetEntry:
    from benchmarks.datasets.simulate import SimulationParameters

    where = f"{path}: {name}"
    allowed = ("format", "modalities", "simulate", "seed", "genome", *_PROSE)
    for key in keys:
        if key not in allowed:
            raise InputError(f"{where}.{key}: a simulated data set takes none; remove it (sizes go under simulate)")
    settings = keys.get("simulate", {})
    parameters = SimulationParameters.from_mapping(settings, f"{where}.simulate")
    declared = tuple(ordered_modalities(keys.get("modalities", parameters.modalities)))
    if declared != parameters.modalities:
        raise InputError(
            f"{where}.modalities: {list(declared)} but simulate makes {list(parameters.modalities)}; "
            "set simulate.modalities alone"
        )
    values = {key: keys[key] for key in ("seed", "genome", *_PROSE) if key in keys}
    names = {key: key for key in ("batch", "site", "donor")}
    return DatasetEntry(
        name=name,
        format="simulated",
        modalities=declared,
        labels="cell_type",
        **names,
        simulate=dict(settings),
        registry=path,
        **values,
    )


def _check_roles(where: str, format: str, roles: tuple[str, ...], modalities: tuple[str, ...], download: bool) -> None:
    """Which files a format consists of."""
    if format == "h5ad_pair":
        if set(roles) != set(modalities):
            raise InputError(
                f"{where}.path: names {', '.join(roles)}; name one file for each of modalities ({', '.join(modalities)})"
            )
        return
    if format == "matrix_market_tables":
        if set(roles) != set(TABLES):
            raise InputError(f"{where}.path: names {', '.join(roles)}; name {', '.join(TABLES)}")
        _check_single(where, format, modalities)
        return
    if format == "dense_table":
        if roles != (SINGLE,) and not {"counts"} < set(roles) <= set(DENSE):
            raise InputError(
                f"{where}.path: names {', '.join(roles)}; give the table's path as text, or counts with cells, "
                "features or both where the table of counts lacks their names"
            )
        _check_single(where, format, modalities)
        return
    if format != "matrix_market":
        if roles != (SINGLE,):
            raise InputError(f"{where}.path: format {format!r} is one file; give its path as text")
        return
    triplet, by_modality = set(TRIPLET), {f"{modality}.{part}" for modality in modalities for part in TRIPLET}
    if set(roles) in (triplet, by_modality):
        return
    if not download and (roles == (SINGLE,) or set(roles) == set(modalities)):
        return
    raise InputError(
        f"{where}.{'url' if download else 'path'}: names {', '.join(roles)}; name "
        + ("" if download else "a folder, or a folder for each modality, or ")
        + "matrix, barcodes and features (or these for each modality)"
    )


def _check_single(where: str, format: str, modalities: tuple[str, ...]) -> None:
    if len(modalities) != 1:
        raise InputError(
            f"{where}.modalities: {', '.join(modalities)}, but {format!r} holds one; "
            "use format combined with a part for each"
        )
