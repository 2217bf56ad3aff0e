#!/usr/bin/env python3
"""GIMP 3: Filters > Artistic > Impasto paints the layer through a running `impasto serve`, as a new layer."""

import sys
import tempfile
from pathlib import Path

import gi

gi.require_version("Gimp", "3.0")
gi.require_version("GimpUi", "3.0")
from gi.repository import Gimp, GimpUi, Gio, GLib, GObject  # noqa: E402 - the versions come first

sys.path.insert(0, str(Path(__file__).resolve().parent))
from impasto_service import ADDRESS, Service, ServiceError  # noqa: E402

NAME = "impasto-stylize"
BOTH_WAYS = GObject.ParamFlags.READWRITE


class ImpastoStylize(Gimp.PlugIn):
    """The plug-in."""

    def do_query_procedures(self):
        """What it offers."""
        return [NAME]

    def do_set_i18n(self, name):
        """There are no translations."""
        return False

    def do_create_procedure(self, name):
        """Describe the procedure to GIMP."""
        procedure = Gimp.ImageProcedure.new(self, name, Gimp.PDBProcType.PLUGIN, run, None)
        procedure.set_image_types("RGB*, GRAY*")
        procedure.set_sensitivity_mask(Gimp.ProcedureSensitivityMask.DRAWABLE)
        procedure.set_menu_label("_Impasto...")
        procedure.add_menu_path("<Image>/Filters/Artistic")
        procedure.set_documentation("Paint in the style of a painting", "Paints through a running impasto serve", name)
        procedure.set_attribution("The Impasto authors", "The Impasto authors", "2026")
        procedure.add_string_argument(
            "style", "_Style", "An id or words: museum:436535, pack:irises, irises", "museum:436535", BOTH_WAYS
        )
        procedure.add_file_argument(
            "style-file", "Style _picture", "Instead of a name", Gimp.FileChooserAction.OPEN, True, None, BOTH_WAYS
        )
        choice = Gimp.Choice.new()
        for number, (word, label) in enumerate((("draft", "Draft"), ("good", "Good"), ("best", "Best"))):
            choice.add(word, number, label, "")
        procedure.add_choice_argument("quality", "_Quality", "Draft is quick, best slow", choice, "good", BOTH_WAYS)
        procedure.add_double_argument(
            "strength", "S_trength", "0 is the photograph, 1 the full style", 0.0, 1.0, 1.0, BOTH_WAYS
        )
        procedure.add_string_argument("service", "Ser_vice", "Address of impasto serve", ADDRESS, BOTH_WAYS)
        procedure.add_string_argument("key", "API _key", "If the service asks for one", "", BOTH_WAYS)
        return procedure


def run(procedure, run_mode, image, drawables, config, data):
    """Paint the chosen layer."""
    if run_mode == Gimp.RunMode.INTERACTIVE:
        GimpUi.init(NAME)
        dialog = GimpUi.ProcedureDialog.new(procedure, config, "Impasto")
        dialog.fill(None)
        confirmed = dialog.run()
        dialog.destroy()
        if not confirmed:
            return procedure.new_return_values(Gimp.PDBStatusType.CANCEL, GLib.Error())
    Gimp.progress_init("Impasto is painting")
    try:
        _paint(image, drawables[0], config)
    except (ServiceError, OSError) as error:
        return procedure.new_return_values(Gimp.PDBStatusType.EXECUTION_ERROR, GLib.Error(str(error)))
    Gimp.displays_flush()
    return procedure.new_return_values(Gimp.PDBStatusType.SUCCESS, GLib.Error())


def _paint(image, layer, config):
    """Put the painting above the layer."""
    chosen = config.get_property("style-file")
    style = config.get_property("style") if chosen is None else Path(chosen.get_path()).read_bytes()
    settings = {name: config.get_property(name) for name in ("quality", "strength")}
    service = Service(config.get_property("service"), config.get_property("key"))
    with tempfile.TemporaryDirectory() as folder:
        source, result = (Path(folder) / name for name in ("content.png", "painting.png"))
        _export(layer, source)
        result.write_bytes(service.stylize(source.read_bytes(), style, settings, _progress))
        painted = Gimp.file_load_layer(Gimp.RunMode.NONINTERACTIVE, image, Gio.File.new_for_path(str(result)))
    painted.set_name("Impasto")
    found, x, y = layer.get_offsets()
    image.undo_group_start()
    image.insert_layer(painted, layer.get_parent(), image.get_item_position(layer))
    if found:
        painted.set_offsets(x, y)
    image.undo_group_end()


def _export(layer, path):
    """Write the layer alone as a PNG file."""
    copy = Gimp.Image.new(layer.get_width(), layer.get_height(), Gimp.ImageBaseType.RGB)
    try:
        alone = Gimp.Layer.new_from_drawable(layer, copy)
        copy.insert_layer(alone, None, 0)
        alone.set_offsets(0, 0)
        Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, copy, Gio.File.new_for_path(str(path)), None)
    finally:
        copy.delete()


def _progress(share):
    Gimp.progress_update(share)
    return True


if __name__ == "__main__":
    Gimp.main(ImpastoStylize.__gtype__, sys.argv)
