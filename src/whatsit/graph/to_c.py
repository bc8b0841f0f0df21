"""Write a TFLite file as a C header for TensorFlow Lite Micro."""

from __future__ import annotations

import string
from collections.abc import Sequence

from whatsit.errors import ModelError
from whatsit.graph.arena import arena_bytes
from whatsit.graph.tflite_file import Description

# The operators, by what TensorFlow Lite Micro's `MicroMutableOpResolver` calls them.
_OPERATORS = {
    "ADD": "Add", "AVERAGE_POOL_2D": "AveragePool2D", "CONCATENATION": "Concatenation", "CONV_2D": "Conv2D",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D", "DEQUANTIZE": "Dequantize", "FULLY_CONNECTED": "FullyConnected",
    "LOGISTIC": "Logistic", "MAX_POOL_2D": "MaxPool2D", "MEAN": "Mean", "MUL": "Mul", "PAD": "Pad", "PADV2": "PadV2",
    "QUANTIZE": "Quantize", "REDUCE_MAX": "ReduceMax", "RELU": "Relu", "RELU6": "Relu6", "RESHAPE": "Reshape",
    "RESIZE_BILINEAR": "ResizeBilinear", "SOFTMAX": "Softmax", "TRANSPOSE": "Transpose",
}  # fmt: skip
_ROW = 20  # bytes
_PLAIN = (string.ascii_letters + string.digits + " -_.,()").encode()

_HEADER = """\
/* An image classifier for TensorFlow Lite Micro, written by whatsit.

   Include it in one source file; main_tflm.cc beside it shows how. The model takes a picture of WHATSIT_WIDTH x WHATSIT_HEIGHT
   pixels, red, green and blue, row by row from the top left; each value is the pixel (0 to 255) minus 128, as int8_t. It gives an
   int8_t for each class: the probability is (value - WHATSIT_OUTPUT_ZERO_POINT) * WHATSIT_OUTPUT_SCALE.

   The arena is computed for the reference kernels; those that are made for a processor may want some kilobytes more
   (MicroInterpreter's arena_used_bytes() tells what it took).

   Model: {model:,} bytes, to be kept in flash. Working memory: {arena:,} bytes of RAM. */
#ifndef WHATSIT_MODEL_H_
#define WHATSIT_MODEL_H_

#define WHATSIT_WIDTH {width}
#define WHATSIT_HEIGHT {height}
#define WHATSIT_CHANNELS 3
#define WHATSIT_CLASSES {classes}
#define WHATSIT_ARENA_SIZE {arena}
#define WHATSIT_INPUT_SCALE 1.0f
#define WHATSIT_INPUT_ZERO_POINT (-128)
#define WHATSIT_OUTPUT_SCALE {scale!r}f
#define WHATSIT_OUTPUT_ZERO_POINT ({zero})

/* The operators of the model, for tflite::MicroMutableOpResolver<WHATSIT_OP_COUNT>. */
#define WHATSIT_OP_COUNT {operators}
#define WHATSIT_ADD_OPS(resolver) \\
  do {{ \\
{adding}
  }} while (0)

#if defined(__cplusplus)
#define WHATSIT_ALIGNED alignas(16)
#else
#define WHATSIT_ALIGNED _Alignas(16)
#endif

/* In the order of the probabilities, in UTF-8. */
static const char *const whatsit_labels[WHATSIT_CLASSES] = {{
{labels}
}};
{costs}
static const unsigned int whatsit_model_size = {model};
WHATSIT_ALIGNED static const unsigned char whatsit_model[{model}] = {{
{data}
}};

#endif /* WHATSIT_MODEL_H_ */
"""

_COSTS = """
/* What mistakes cost, [truth][answer]: the class to answer is that of the least sum over truth of probability[truth] *
   whatsit_costs[truth][answer]. Probabilities in steps of 1/256 say little of what is rarer than that. */
#define WHATSIT_COSTS 1
static const float whatsit_costs[WHATSIT_CLASSES][WHATSIT_CLASSES] = {{
{rows}
}};
"""


def _cells(row: Sequence[float]) -> str:
    return f"  {{{','.join(f'{float(price)!r}f' for price in row)}}},"


def to_header(content: bytes, about: Description) -> str:
    """Return the header with a TFLite file that is int8 throughout.

    Raises `ModelError` for an operator that microcontrollers have not.
    """
    width, height = about.size
    operators = sorted(_micro_names(content))
    scale, zero = _output_scale(content)
    rows = [content[start : start + _ROW] for start in range(0, len(content), _ROW)]
    return _HEADER.format(
        width=width,
        height=height,
        classes=len(about.labels),
        arena=arena_bytes(content),
        model=len(content),
        scale=scale,
        zero=zero,
        operators=len(operators),
        adding="\n".join(f"    (resolver).Add{name}(); \\" for name in operators),
        costs="" if about.costs is None else _COSTS.format(rows="\n".join(_cells(row) for row in about.costs)),
        labels="\n".join(f'  "{_escaped(label)}",' for label in about.labels),
        data="\n".join(f"  {','.join(f'0x{value:02x}' for value in row)}," for row in rows),
    )


def _output_scale(content: bytes) -> tuple[float, int]:
    """Return what makes probabilities of the model's results, and the result for 0."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    quantization = graph.Tensors(graph.Outputs(0)).Quantization()
    return float(quantization.Scale(0)), int(quantization.ZeroPoint(0))


def _micro_names(content: bytes) -> set[str]:
    from ai_edge_litert import schema_py_generated as schema

    names = {number: name for name, number in vars(schema.BuiltinOperator).items() if isinstance(number, int)}
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(place) for place in range(model.OperatorCodesLength())]
    found = [names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes]
    for name in found:
        if name not in _OPERATORS:
            raise ModelError(
                f"the model has the operator {name}, which is not among those for microcontrollers; train another with "
                f"--recipe tiny"
            )
    return {_OPERATORS[name] for name in found}


def _escaped(text: str) -> str:
    """Return a text for a C literal.

    What is not plain ASCII becomes octal numbers, which have an end.
    """
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode())
