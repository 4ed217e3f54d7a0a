"""Files of the kinds that take a parser, made here."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence


def pdf(*pages: Sequence[str], title: str = "", is_packed: bool = False) -> bytes:
    """A PDF file of so many pages, each with lines of ASCII; packed twice where asked."""
    bodies = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    bodies.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    bodies.append(f"<< /Title ({title}) >>".encode())
    kids = []
    for lines in pages:
        shown = " ".join(f"({line}) Tj T*" for line in lines)
        stream = f"BT /F1 12 Tf 50 700 Td 14 TL {shown} ET".encode()
        if is_packed:
            stream = zlib.compress(zlib.compress(stream, 9), 9)
        packed = b"/Filter [/FlateDecode /FlateDecode]" if is_packed else b""
        head = b"<< /Length %d %s >>" % (len(stream), packed)
        bodies.append(b"%s\nstream\n%s\nendstream" % (head, stream))
        bodies.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R "
            b"/Resources << /Font << /F1 3 0 R >> >> >>" % len(bodies)
        )
        kids.append(f"{len(bodies)} 0 R")
    bodies[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(bodies, 1):
        places.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = file.tell()
    file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1))
    file.writelines(b"%010d 00000 n \n" % place for place in places)
    file.write(
        b"trailer << /Size %d /Root 1 0 R /Info 4 0 R >>\nstartxref\n%d\n%%%%EOF\n"
        % (len(bodies) + 1, table)
    )
    return file.getvalue()


def docx_file() -> bytes:
    """A DOCX file with a title, headings, a list and a table."""
    import docx

    document = docx.Document()
    document.core_properties.title = "House rules"
    document.add_heading("Leave", 1)
    document.add_paragraph("Thirty days of paid holiday in a year.")
    document.add_heading("Who asks whom", 2)
    document.add_paragraph("first your team", style="List Bullet")
    document.add_paragraph("then the office", style="List Number")
    table = document.add_table(2, 2)
    for row, texts in zip(table.rows, (("who", "days"), ("all", "30")), strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.add_paragraph("")
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def docx_bomb(unpacked: int) -> bytes:
    """A small DOCX file whose text unpacks to so many bytes."""
    return _docx_of(lambda xml: b" " * unpacked)


def docx_laughs() -> bytes:
    """A DOCX file whose text names entities that would unpack to ten billion characters."""
    entities = [b'<!ENTITY l0 "ha">']
    for level in range(1, 11):
        entities.append(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10))
    declared = b"?><!DOCTYPE w [" + b"".join(entities) + b"]>"
    return _docx_of(lambda xml: xml.replace(b"?>", declared, 1).replace(b"Thirty", b"&l10;"))


def docx_with(inner: str) -> bytes:
    """A DOCX file whose body begins with some XML."""
    return _docx_of(lambda xml: xml.replace(b"<w:body>", b"<w:body>" + inner.encode(), 1))


def _docx_of(change: Callable[[bytes], bytes]) -> bytes:
    file = io.BytesIO()
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made,
        zipfile.ZipFile(io.BytesIO(docx_file())) as whole,
    ):
        for name in whole.namelist():
            part = whole.read(name)
            made.writestr(name, change(part) if name == "word/document.xml" else part)
    return file.getvalue()
