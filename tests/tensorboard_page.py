"""Custom Scalars page and table of hyperparameters as TensorBoard itself reads them back from event files."""

from __future__ import annotations

import json
import warnings

from tensorboard import context
from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
from tensorboard.plugins import base_plugin

with warnings.catch_warnings():  # of the HTML cleaner that TensorBoard brings along
    warnings.simplefilter("ignore", DeprecationWarning)
    from tensorboard.plugins.custom_scalar import custom_scalars_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups
    from tensorboard.plugins.scalar import scalars_plugin


def charts_of(layout):
    """Title of each chart to its content, of all questions."""
    return {title: content for charts in layout.values() for title, content in charts.items()}


def plugin_of(folder):
    multiplexer = plugin_event_multiplexer.EventMultiplexer(tensor_size_guidance={"custom_scalars": 10})
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    shared = base_plugin.TBContext(
        logdir=str(folder), multiplexer=multiplexer, data_provider=provider, plugin_name_to_instance={}
    )
    shared.plugin_name_to_instance["scalars"] = scalars_plugin.ScalarsPlugin(shared)
    return custom_scalars_plugin.CustomScalarsPlugin(shared)


def drawn_by_tensorboard(folder, run):
    """Title of each chart of lines to the tags that TensorBoard would draw in it."""
    plugin = plugin_of(folder)
    layout = json.loads(plugin.layout_impl(context.RequestContext(), ""))
    drawn = {}
    for category in layout["category"]:
        for chart in category["chart"]:
            if "multiline" in chart:
                # the page joins the patterns of a chart in this way
                pattern = "|".join(f"({tag})" for tag in chart["multiline"]["tag"])
                answer = plugin.scalars_impl(context.RequestContext(), run, pattern, "")
                drawn[chart["title"]] = set(answer["tag_to_events"])
    return drawn


def page_of(folder):
    """The layout that TensorBoard serves, of all runs in the folder."""
    return json.loads(plugin_of(folder).layout_impl(context.RequestContext(), ""))


def table_of(folder):
    """Names of the columns, hyperparameters and metrics apart, and the row of each run in both."""
    multiplexer = plugin_event_multiplexer.EventMultiplexer()
    multiplexer.AddRunsFromDirectory(str(folder)).Reload()
    provider = data_provider.MultiplexerDataProvider(multiplexer, str(folder))
    backend = backend_context.Context(base_plugin.TBContext(data_provider=provider))
    asking = context.RequestContext()
    no_others = provider.list_hyperparameters(asking, experiment_ids=[""])
    experiment = backend.experiment_from_metadata(asking, "", True, backend.hparams_metadata(asking, ""), no_others)
    statuses = [getattr(api_pb2, f"STATUS_{name}") for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    request = api_pb2.ListSessionGroupsRequest(allowed_statuses=statuses, slice_size=100)
    groups = list_session_groups.Handler(asking, backend, "", request).run().session_groups
    hyperparameters = [info.name for info in experiment.hparam_infos]
    metrics = [info.name.tag for info in experiment.metric_infos]
    rows = {}
    for group in groups:
        values = {name: getattr(value, value.WhichOneof("kind")) for name, value in group.hparams.items()}
        rows[group.name] = (values, {metric.name.tag: metric.value for metric in group.metric_values})
    return hyperparameters, metrics, rows
