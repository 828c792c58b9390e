"""Parquet and TFRecord files as mirrors of data sets have them, written by the libraries that define both formats."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Rows = list[dict[str, Any]]


def png(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    """An image file of uint8 [channels, height, width]."""
    file = io.BytesIO()
    plain = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    Image.fromarray(np.ascontiguousarray(plain)).save(file, format=kind)
    return file.getvalue()


def rows_of(images: np.ndarray, factors: np.ndarray, names: tuple[str, ...]) -> Rows:
    """Rows with `image`, and of each factor `label_x`, its number, and `value_x`, which says what it measures."""
    return [
        {"image": png(image)}
        | {f"label_{name}": int(value) for name, value in zip(names, row, strict=True)}
        | {f"value_{name}": float(value) / 7 for name, value in zip(names, row, strict=True)}
        for image, row in zip(images, factors, strict=True)
    ]


def write_parquet(path: Path, rows: Rows, image_type: str = "struct", **options: Any) -> Path:
    """A file with the images as the Hub has them, bytes beside a path, or as bytes alone."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    for name, values in columns.items():
        if isinstance(values[0], bytes) and image_type == "struct":
            columns[name] = [{"bytes": value, "path": None} for value in values]
    parquet.write_table(pyarrow.table(columns), path, **options)
    return path


def example_class() -> Any:
    """`tf.train.Example` as TensorFlow defines it, made by the library of Protocol Buffers."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="mirror", syntax="proto3")

    def message(name: str, **fields: tuple[int, int, int, str]) -> Any:
        found = file.message_type.add(name=name)
        for field, (number, kind, label, of) in fields.items():
            found.field.add(name=field, number=number, type=kind, label=label, type_name=of or None)
        return found

    one, many, sub = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED, kinds.TYPE_MESSAGE
    message("BytesList", value=(1, kinds.TYPE_BYTES, many, ""))
    message("FloatList", value=(1, kinds.TYPE_FLOAT, many, ""))
    message("Int64List", value=(1, kinds.TYPE_INT64, many, ""))
    message(
        "Feature",
        bytes_list=(1, sub, one, ".mirror.BytesList"),
        float_list=(2, sub, one, ".mirror.FloatList"),
        int64_list=(3, sub, one, ".mirror.Int64List"),
    )
    features = message("Features", feature=(1, sub, many, ".mirror.Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=one)
    entry.field.add(name="value", number=2, type=sub, label=one, type_name=".mirror.Feature")
    message("Example", features=(1, sub, one, ".mirror.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("mirror.Example"))


def write_tfrecord(path: Path, rows: Rows) -> Path:
    """A file of records as TensorBoard's own writer makes them."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    make = example_class()
    with path.open("wb") as file:
        writer = RecordWriter(file)
        for row in rows:
            example = make()
            for name, value in row.items():
                feature = example.features.feature[name]
                kind = {bytes: "bytes_list", str: "bytes_list", float: "float_list"}.get(
                    type(value), "int64_list"
                )
                values = (
                    value
                    if isinstance(value, list)
                    else [value.encode() if isinstance(value, str) else value]
                )
                getattr(feature, kind).value.extend(values)
            writer.write(example.SerializeToString())
    return path
