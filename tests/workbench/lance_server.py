"""What a LanceDB server says to its client, spoken over a folder: its REST interface as far as an index needs it."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

KEY = "sk_test"


class Handler(BaseHTTPRequestHandler):
    """POST ``/v1/table/NAME/{create,describe,count_rows,create_index,query}/``."""

    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, *words: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self._body()
        found = re.match(r"/v1/table/([^/]+)/(\w+)/", self.path)
        if self.headers.get("x-api-key") != KEY:
            return self._answer(401, {"error": "the key is wrong"})
        if found is None:
            return self._answer(404, {"error": "there is no such path"})
        name, wish = found.groups()
        self.server.asked.append((name, wish))
        if wish == "create":
            return self._create(name, body)
        try:
            table = self.server.database.open_table(name)
        except (ValueError, OSError):
            return self._answer(404, {"error": f"table {name} not found"})
        if wish == "describe":
            fields = [_field(field) for field in table.schema]
            self._answer(200, {"version": table.version, "schema": {"fields": fields}})
        elif wish == "query":
            self._query(table, json.loads(body))
        else:
            self._answer(200, table.count_rows() if wish == "count_rows" else {})

    def _create(self, name: str, body: bytes) -> None:
        import pyarrow as pa

        rows = pa.ipc.open_stream(body).read_all()
        self.server.database.create_table(name, rows, mode="overwrite")
        self._answer(200, {})

    def _query(self, table: Any, wish: dict[str, Any]) -> None:
        import pyarrow as pa

        query = table.search(wish.get("vector") or None).limit(wish["k"])
        if wish.get("vector"):
            query = query.distance_type(wish["distance_type"])
        if wish.get("columns"):
            query = query.select(wish["columns"])
        if wish.get("filter"):
            query = query.where(wish["filter"], prefilter=wish["prefilter"])
        rows, buffer = query.to_arrow(), io.BytesIO()
        with pa.ipc.new_file(buffer, rows.schema) as writer:
            writer.write_table(rows)
        self._answer(200, buffer.getvalue())

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, content: Any) -> None:
        arrow = isinstance(content, bytes)
        body = content if arrow else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("content-type", "application/vnd.apache.arrow.file" if arrow else "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _field(field: Any) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": str(field.type)}
    if hasattr(field.type, "list_size"):
        kind = {"type": "fixed_size_list", "length": field.type.list_size, "fields": [_field(field.type.value_field)]}
    return {"name": field.name, "nullable": field.nullable, "type": kind}


@contextmanager
def serving(folder: Path) -> Iterator[Any]:
    """A server; ``address`` is its own, ``asked`` the tables and wishes of its clients."""
    import lancedb

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.database, server.asked = lancedb.connect(str(folder)), []
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
