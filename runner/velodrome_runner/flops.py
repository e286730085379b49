"""The arithmetic of a model for one sample: every operation has a formula or is known to be free, or there is no count.

`torch.utils.flop_counter` has formulas for matrix products, convolutions and attention, and counts 0 for everything
else, which hides products that it doesn't know. So here each operation that runs must be on a list.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from velodrome.canonical import digest
from velodrome_runner.log import words
from velodrome_runner.peak import Unmeasurable

# This number changes with what a formula of `_FORMULAS` counts, and with how models are split into operations.
_VERSION = 1

# What a model is called with: a tensor, or tensors by name.
Inputs = Tensor | Mapping[str, Tensor]

# Operations with at most a few additions, comparisons or multiplications for each of their elements. Those that torch
# tags as elementwise, as reductions or as views are free too.
_FREE = frozenset(
    name
    for kind in (
        # elementwise, without torch's tag
        "_prelu_kernel prelu glu hardswish log_sigmoid_forward rrelu_with_noise floor_divide rsub complex polar addr",
        "binary_cross_entropy binary_cross_entropy_with_logits huber_loss mse_loss smooth_l1_loss soft_margin_loss",
        "nll_loss_forward nll_loss2d_forward linalg_cross _thnn_fused_gru_cell _thnn_fused_lstm_cell",
        "_fake_quantize_learnable_per_channel_affine _fake_quantize_learnable_per_tensor_affine",
        "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams fake_quantize_per_channel_affine_cachemask",
        "fake_quantize_per_tensor_affine_cachemask quantize_per_tensor quantize_per_tensor_dynamic",
        "quantize_per_channel dequantize int_repr _transform_bias_rescale_qkv",
        # norms and softmax
        "native_batch_norm native_layer_norm native_group_norm cudnn_batch_norm _native_batch_norm_legit",
        "_native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update batch_norm_elemt",
        "batch_norm_stats _fused_rms_norm _weight_norm_interface renorm _softmax _log_softmax _safe_softmax",
        "_masked_softmax",
        # pooling, interpolation, sums of elements
        "avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d adaptive_max_pool3d",
        "max_pool2d_with_indices max_pool3d_with_indices fractional_max_pool2d fractional_max_pool3d max_unpool2d",
        "max_unpool3d upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d",
        "_upsample_nearest_exact2d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d",
        "upsample_trilinear3d upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa grid_sampler_2d",
        "grid_sampler_3d cumsum cumprod cummax cummin _cummax_helper _cummin_helper logcumsumexp _logcumsumexp trace",
        "dist _embedding_bag _embedding_bag_forward_only index_add index_reduce scatter_add scatter_reduce",
        "segment_reduce",
        # order, counting and search
        "sort topk kthvalue median nanmedian mode isin searchsorted bucketize bincount histc nonzero nonzero_static",
        "unique_consecutive unique_dim unique_dim_consecutive _unique _unique2 allclose equal is_same_size",
        # moving, copying, choosing and padding
        "_to_copy copy _unsafe_view _reshape_copy alias_copy cat stack _stack block_diag repeat repeat_interleave",
        "flip roll rot90 index index_select index_put _index_put_impl index_copy index_fill _unsafe_index",
        "_unsafe_index_put _unsafe_masked_index gather scatter take put masked_select masked_scatter embedding",
        "embedding_renorm diag_embed constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d",
        "replication_pad1d replication_pad2d replication_pad3d pixel_shuffle pixel_unshuffle channel_shuffle im2col",
        "col2im tril triu select_scatter slice_scatter diagonal_scatter as_strided_scatter narrow_copy unsafe_split",
        "unsafe_split_with_sizes",
        "_pack_padded_sequence resize resize_as set detach lift_fresh squeeze unsqueeze t transpose",
        "_local_scalar_dense _pin_memory is_pinned _lazy_clone as_strided",
        # new tensors
        "arange range linspace logspace eye empty empty_like empty_strided empty_permuted new_empty new_empty_strided",
        "full full_like new_full ones ones_like new_ones zeros zeros_like new_zeros zero fill scalar_tensor",
        "tril_indices triu_indices affine_grid_generator hann_window hamming_window blackman_window kaiser_window",
        "bartlett_window",
        # random numbers
        "rand rand_like randn randn_like randint randint_like randperm random uniform normal normal_functional",
        "bernoulli native_dropout _fused_dropout exponential geometric log_normal cauchy poisson binomial multinomial",
        # checks
        "_assert_async _functional_assert_async _assert_scalar _assert_tensor_metadata _is_all_true _is_any_true",
    )
    for name in kind.split()
)
_FREE_TAGS = frozenset({torch.Tag.pointwise, torch.Tag.reduction, torch.Tag.view_copy})
# It compares the boxes that a detector found. A model that has it had no count before, so no definition changes by it.
_SUPPRESSION = ("torchvision", "nms")
# Namespaces of operations that describe tensors and regions, and compute nothing.
_FREE_SPACES = frozenset({"prim", "profiler"})


def count_flops(
    model: nn.Module, inputs: Inputs, call: Callable[[nn.Module, Any], object] = lambda model, inputs: model(inputs)
) -> int:
    """Floating-point operations of `call(model, inputs)`, in evaluation mode. `inputs` are of one sample, (1, …).

    Matrix products, convolutions, attention and distances count; a multiplication and an addition count as two.
    Elementwise operations, norms and pooling do not count. The count uses a copy of the model on the CPU, in float32,
    with attention and recurrent layers split into their matrix products. So it does not depend on the device.

    Raises:
        Unmeasurable: there is no formula for an operation of the model, or the model can't be copied or run there.
    """
    # Without Triton, which only torch.compile needs, torch says so at this import: in the log of each trial.
    logging.getLogger("torch.utils.flop_counter").setLevel(logging.ERROR)
    from torch.utils.flop_counter import FlopCounterMode

    formulas = {getattr(torch.ops.aten, name): formula for name, formula in _FORMULAS.items()}
    counter = FlopCounterMode(display=False, custom_mapping=formulas)
    seen = _Operations(counter.flop_registry)
    try:
        probe = copy.deepcopy(model).cpu().float().eval()
        with torch.no_grad(), _split_into_products(), seen, counter:
            call(probe, _on_cpu(inputs))
    # Your own model may be tied to its device, or contain tensors with a gradient history, or uncopyable parts.
    except Exception as error:
        raise Unmeasurable(
            f"a copy of the model does not run on the CPU: {type(error).__name__}: {words(error)[:200]}"
        ) from error
    if seen.uncounted:
        raise Unmeasurable(f"there is no formula for the operations of {', '.join(sorted(seen.uncounted))}")
    return int(counter.get_total_flops())


def definition() -> str:
    """A digest of what counts and what is free, here and in torch's counter.

    Figures of two definitions are not compared: an operation that is free in one may have a formula in the other.
    """
    from torch.utils.flop_counter import flop_registry

    counted = {str(name) for name in flop_registry} | set(_FORMULAS)
    lists = {"free": _FREE, "tags": {str(tag) for tag in _FREE_TAGS}, "spaces": _FREE_SPACES, "counted": counted}
    return digest({"version": _VERSION, **{name: sorted(found) for name, found in lists.items()}})


def _on_cpu(inputs: Inputs) -> Inputs:
    """The inputs in the copy's precision. Whole numbers, such as lengths and categories, stay whole."""
    if isinstance(inputs, Tensor):
        return inputs.cpu().float() if inputs.is_floating_point() or inputs.dtype == torch.uint8 else inputs.cpu()
    return {
        name: tensor.cpu().float() if tensor.is_floating_point() else tensor.cpu() for name, tensor in inputs.items()
    }


def _one_on_cpu(tensor: Tensor) -> Tensor:
    return tensor.cpu().float() if tensor.is_floating_point() else tensor.cpu()


@contextmanager
def _split_into_products() -> Iterator[None]:
    """Runs layers as the operations that they are made of.

    With oneDNN a recurrent layer would be one operation, and with torch's fast path a layer of a transformer: one that
    the counter counts as 0. `torch.backends.mkldnn.flags` would set TF32 too, and warn about that.
    """
    mkldnn, attention = torch.backends.mkldnn, torch.backends.mha
    (enabled, *_) = mkldnn.set_flags(_enabled=False, _fp32_precision=None)
    fast = attention.get_fastpath_enabled()
    attention.set_fastpath_enabled(False)
    try:
        yield
    finally:
        attention.set_fastpath_enabled(fast)
        mkldnn.set_flags(_enabled=enabled, _fp32_precision=None)


class _Operations(TorchDispatchMode):
    """Notes the operations that have no formula and are not free."""

    supports_higher_order_operators = True

    def __init__(self, formulas: Mapping[Any, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.uncounted: set[str] = set()
        self._formulas = formulas

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not isinstance(func, OpOverload):
            self.uncounted.add(str(func))
        elif func.overloadpacket not in self._formulas and not _is_free(func):
            self.uncounted.add(func.name().partition(".")[0])
        return func(*args, **(kwargs or {}))


def _is_free(operation: OpOverload[..., Any]) -> bool:
    space, _, name = operation.name().partition(".")[0].partition("::")
    if space != "aten":
        return space in _FREE_SPACES or (space, name) == _SUPPRESSION
    return operation.is_view or _is_tagged(operation, name) or name.rstrip("_") in _FREE


def _is_tagged(operation: OpOverload[..., Any], name: str) -> bool:
    """Whether torch tags the operation as free, or the one that it is the in-place form of: some forms lack the tag."""
    packet = getattr(torch.ops.aten, name.rstrip("_"), None) if name.endswith("_") else None
    plain = getattr(packet, operation.__name__.partition(".")[2], None)
    return any(not _FREE_TAGS.isdisjoint(each.tags) for each in (operation, plain) if each is not None)


def _distances(points: Any, *_: object, out_shape: Any, **__: object) -> int:
    """A subtraction, a multiplication and an addition for each distance and each dimension of the points."""
    return 3 * prod(map(int, out_shape)) * int(points[-1])


# Formulas that torch's counter lacks, over the shapes of the arguments.
_FORMULAS: Mapping[str, Callable[..., int]] = {
    "mv": lambda matrix, *_, **__: 2 * prod(matrix),
    "addmv": lambda _, matrix, *__, **___: 2 * prod(matrix),
    "dot": lambda first, *_, **__: 2 * prod(first),
    "vdot": lambda first, *_, **__: 2 * prod(first),
    "addbmm": lambda _, first, second, **__: 2 * prod(first) * second[-1],
    "_int_mm": lambda first, second, **_: 2 * prod(first) * second[-1],
    "_cdist_forward": _distances,
    "_euclidean_dist": _distances,
    "_pdist_forward": _distances,
}
