"""Quantities of the loss's curvature."""

from __future__ import annotations

from thermo_callbacks.catalog import questions
from thermo_callbacks.catalog.quantity import FULL, STANDARD, Compared, LayerColumn, Quantity, RunLine, ScalarChart

QUANTITIES = (
    Quantity(
        name="Trace of the Hessian (Laplacian)",
        tags=("thermo/laplacian",),
        family="thermo_laplacian",
        pictures=("thermo/laplacian_by_layer",),
        label="trace of the Hessian",
        unit="loss",
        formula="tr H",
        summary="trace of the Hessian of the loss",
        meaning="How curved the loss is, summed over all weights: shake each of them by δ, and the loss rises by ½ "
        "δ² tr H. High is a sharp valley, low a flat one. A layer that holds most of it is the first to suffer from "
        "a learning rate that is too high.",
        caution="It depends on how the network is scaled: before BatchNorm or LayerNorm, larger weights read flatter "
        "for the same function. It is that of one batch at one moment: within its error it jumps from pass to pass.",
        action="One layer holds most of it and the loss jumps: a lower learning rate for that layer, or a warm-up.",
        missing="the curvature of some layer is not finite",
        when="extra pass",
        logged_by=(*STANDARD, "FreeEnergyMonitor", "BulkMonitor"),
        charts=(
            ScalarChart(
                questions.CURVATURE,
                "Trace of the Hessian (Laplacian) [loss], 95 % band",
                ("thermo/laplacian", "thermo/laplacian_lower", "thermo/laplacian_upper"),
                least=3,
                band=True,
            ),
            ScalarChart(questions.CURVATURE, "Trace of the Hessian by layer [loss]", ("thermo_laplacian",)),
        ),
        column=LayerColumn("curvature", 10, "trace of the\nHessian [loss]", 2),
        lines=(RunLine(70),),
        key_number=50,
        final_value=40,
        compared=Compared(70, "engines"),
    ),
    Quantity(
        name="Error of the trace of the Hessian",
        tags=("thermo/laplacian_stderr", "thermo/laplacian_lower", "thermo/laplacian_upper"),
        family="thermo_laplacian_stderr",
        unit="loss",
        formula="standard error; 95 % interval",
        summary="its standard error, and the ends of its 95 % interval",
        meaning="The curvature of the mean loss at this pass lies between lower and upper 19 times out of 20. No "
        "average over passes is in it, which would lag.",
        caution="Where the samples of a batch don't depend on each other, it covers random directions and the batch. "
        "With BatchNorm in training, contrastive losses and the like, and with finite differences, it covers the "
        "directions alone, and is several times as large.",
        action="Too wide: larger batches; or smooth the chart over passes, and read it as that. For the layers, "
        "`FreeEnergyMonitor(within_layers=True)` probes each by itself.",
        missing="the curvature of some layer is not finite",
        when="extra pass",
        logged_by=(*STANDARD, "FreeEnergyMonitor", "BulkMonitor"),
        family_logged_by=(*FULL, "FreeEnergyMonitor"),
        column=LayerColumn("curvature", 20, "standard\nerror", 2),
    ),
    Quantity(
        name="Rugh temperature",
        tags=("thermo/rugh_temperature", "thermo/rugh_temperature_stderr"),
        unit="loss",
        formula="⟨‖∇U‖²⟩ / ⟨tr H⟩, where ⟨ ⟩ is over extra passes, the recent ones with more weight",
        summary="configurational temperature",
        meaning="The temperature read off slope and curvature alone: how far up the walls of the valley the weights "
        "sit. It equals T in equilibrium where the noise is the same for all weights.",
        caution="With noise that is uneven, as in most networks, it differs from T for good; early in training the "
        "slope of learning makes it too high. Both its parts are sums over past passes, so that it lags. No value "
        "where the curvature is not clearly above 0.",
        action="A check beside T, nothing to act on by itself.",
        missing="it needs a trace of the Hessian above zero, and one optimizer that steps once a batch",
        when="average",
        logged_by=(*STANDARD, "FreeEnergyMonitor"),
        charts=(
            ScalarChart(
                questions.EQUILIBRIUM,
                "Temperature from curvature [loss]: that of the run, at rest",
                ("thermo/rugh_temperature",),
                place=1,
            ),
        ),
    ),
)
