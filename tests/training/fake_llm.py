"""A loopback endpoint that labels by a rule and speaks both forms of the API."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeLLM:
    """Answers each turn with `label(turn)`; `refusals` are statuses given before anything is answered."""

    def __init__(self, label, *, refusals=(), garbled=0):
        self.label, self.refusals, self.garbled = label, list(refusals), garbled
        self.bodies = []
        self._lock = threading.Lock()

    def reply(self, body):
        turns = json.loads(body["messages"][-1]["content"])
        with self._lock:
            self.bodies.append(body)
            if self.garbled:
                self.garbled -= 1
                return "I cannot say."
        return "```json\n" + json.dumps([{"n": turn["n"], **self.label(turn)} for turn in turns]) + "\n```"

    @contextmanager
    def serving(self):
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with fake._lock:
                    refusal = fake.refusals.pop(0) if fake.refusals else None
                if refusal is not None:
                    return self.send(refusal, {"error": {"type": "overloaded_error", "message": "busy"}})
                text = fake.reply(body)
                return self.send(200, openai_form(text) if "completions" in self.path else anthropic_form(text))

            def send(self, status, value):
                payload = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("retry-after-ms", "10")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def openai_form(text):
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    usage["prompt_tokens_details"] = {"cached_tokens": 400}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def anthropic_form(text):
    usage = {"input_tokens": 600, "output_tokens": 100, "cache_read_input_tokens": 400}
    answer = {"id": "1", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    return answer | {"content": [{"type": "text", "text": text}], "usage": usage}
