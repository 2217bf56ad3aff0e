"""Krita: Tools > Scripts > Impasto paints the active layer through a running `impasto serve`."""

from pathlib import Path

from krita import Extension, Krita
from PyQt5.QtCore import QBuffer, QByteArray, QIODevice, QSettings
from PyQt5.QtGui import QImage
from PyQt5.QtWidgets import (
    QApplication,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QMessageBox,
    QProgressDialog,
)

from .impasto_service import ADDRESS, Service, ServiceError


class ImpastoStylize(Extension):
    """The plug-in."""

    def setup(self):
        """Nothing to do before there is a window."""

    def createActions(self, window):  # noqa: N802 - Krita's name
        """Add the entry to the menu."""
        window.createAction("impasto_stylize", "Impasto...", "tools/scripts").triggered.connect(self.ask)

    def ask(self):
        """Ask for the settings, and paint."""
        document = Krita.instance().activeDocument()
        if document is None:
            return
        dialog = _Dialog()
        if dialog.exec_() != QDialog.Accepted:
            return
        progress = QProgressDialog("Impasto is painting", "Cancel", 0, 100)
        progress.show()

        def shown(share):
            progress.setValue(round(100 * share))
            QApplication.processEvents()
            return not progress.wasCanceled()

        try:
            stylize(document, document.activeNode(), dialog.style(), dialog.settings(), dialog.service(), shown)
        except (ServiceError, OSError) as error:
            QMessageBox.warning(None, "Impasto", str(error))
        finally:
            progress.close()


def stylize(document, layer, style, settings, service, on_progress):
    """Paint a layer, within the canvas; the painting becomes a layer above it.

    Args:
        document, layer: Krita's.
        style: a picture file, or words.
        settings: by the names of the flags.
        service: what paints.
        on_progress: see `Service.stylize`.
    """
    if (document.colorModel(), document.colorDepth()) != ("RGBA", "U8"):
        raise ServiceError("the picture is not RGB with 8 bits; Image, Convert Image Color Space makes it so")
    width, height = document.width(), document.height()
    source = QImage(layer.projectionPixelData(0, 0, width, height), width, height, QImage.Format_ARGB32).copy()
    painting = QImage.fromData(service.stylize(_as_png(source), style, settings, on_progress))
    painting = painting.convertToFormat(QImage.Format_ARGB32)
    if (painting.width(), painting.height()) != (width, height):
        painting = painting.scaled(width, height)
    made = document.createNode("Impasto", "paintlayer")
    (layer.parentNode() or document.rootNode()).addChildNode(made, layer)
    bits = painting.constBits()
    bits.setsize(painting.byteCount())
    made.setPixelData(QByteArray(bits.asstring()), 0, 0, width, height)
    document.refreshProjection()
    return made


def _as_png(image):
    """A picture of Qt as a PNG file."""
    data = QByteArray()
    buffer = QBuffer(data)
    buffer.open(QIODevice.WriteOnly)
    image.save(buffer, "PNG")
    return bytes(data)


class _Dialog(QDialog):
    """Style, quality, strength, and where the service is; kept for the next time."""

    def __init__(self):
        super().__init__()
        self.setWindowTitle("Impasto")
        self._kept = QSettings("impasto", "krita")
        self._style = QLineEdit(self._kept.value("style", "museum:436535"))
        self._quality = QComboBox()
        self._quality.addItems(["draft", "good", "best"])
        self._quality.setCurrentText(self._kept.value("quality", "good"))
        self._strength = QDoubleSpinBox()
        self._strength.setRange(0, 1)
        self._strength.setSingleStep(0.05)
        self._strength.setValue(float(self._kept.value("strength", 1.0)))
        self._service = QLineEdit(self._kept.value("service", ADDRESS))
        self._key = QLineEdit()
        rows = QFormLayout(self)
        rows.addRow("Style: a file, an id or words", self._style)
        rows.addRow("Quality", self._quality)
        rows.addRow("Strength", self._strength)
        rows.addRow("Service", self._service)
        rows.addRow("API key", self._key)
        buttons = QDialogButtonBox(QDialogButtonBox.Ok | QDialogButtonBox.Cancel)
        buttons.accepted.connect(self._accepted)
        buttons.rejected.connect(self.reject)
        rows.addRow(buttons)

    def _accepted(self):
        fields = {"style": self._style.text(), "service": self._service.text(), **self.settings()}
        for name, value in fields.items():
            self._kept.setValue(name, value)
        self.accept()

    def style(self):
        """A picture file's contents, or words."""
        text = self._style.text().strip()
        path = Path(text).expanduser()
        return path.read_bytes() if text and path.is_file() else text

    def settings(self):
        """By the names of the flags."""
        return {"quality": self._quality.currentText(), "strength": self._strength.value()}

    def service(self):
        """What paints."""
        return Service(self._service.text().strip(), self._key.text().strip())


Krita.instance().addExtension(ImpastoStylize(Krita.instance()))
