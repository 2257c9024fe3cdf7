"""Runs schemathesis against a demo of the shop, as a merchant, as a guest, and with accounts of their own.

    drive.py SOUK

Needs what stands in requirements.txt; scripts/schemathesis installs it. Exits with 1 where anything was found.
"""

import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
# Seconds until the demo is ready.
START_LIMIT = 180
# Seconds until it has stopped.
STOP_LIMIT = 60
# Seconds for each run of schemathesis: it is ended there, which counts as a failure.
RUN_LIMIT = 400
# Requests an operation and phase.
EXAMPLES = os.environ.get("SOUK_CONTRACT_EXAMPLES", "20")
# Each with an account of its own: these end what the others need, or ask for the caller's password.
ALONE = ["logout", "endSession", "eraseMe", "exportMe", "stepUp", "changePassword"]
# The password of those accounts, which is also the document's example.
PASSWORD = "a long sentence of mine"
# These need what only a letter, or a token that is not spent, would give.
OUT_OF_REACH = {"verifyEmail", "resetPassword", "refreshTokens"}
PRODUCTS = "60"
ADDRESS = {"name": "A", "line1": "B", "city": "C", "postcode": "10115", "country": "DE"}


class Demo:
    """A demo of one node that lives as long as this does."""

    def __init__(self, souk, home):
        self.log = open(home / "demo.log", "wb")
        self.process = subprocess.Popen(
            [souk, "demo", "--nodes", "1", "--products", PRODUCTS, "--port", "0", "--data", str(home / "data")],
            stdout=subprocess.PIPE,
            stderr=self.log,
        )
        lines = queue.Queue()
        threading.Thread(target=lambda: lines.put(self.process.stdout.readline()), daemon=True).start()
        try:
            ready = json.loads(lines.get(timeout=START_LIMIT))
        except (queue.Empty, ValueError) as error:
            self.stop()
            raise SystemExit(f"the demo did not start: {(home / 'demo.log').read_text()}") from error
        self.shop = ready["shop"][0]
        self.admin = ready["admin"]

    def call(self, method, path, body=None, headers=None):
        """The JSON of a reply that must be a good one."""
        request = urllib.request.Request(
            self.shop + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def stop(self):
        """Ends it, whatever it does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def order(demo, sku, caller, key):
    """Places an order; its identifier."""
    demo.call("POST", "/v1/cart/items", {"sku": sku, "quantity": 1}, caller)
    quote = demo.call("POST", "/v1/checkout/quote", {"address": ADDRESS}, caller)
    body = {
        "address": ADDRESS,
        "shipping_option": quote["shipping_options"][0]["id"],
        "payment": {"gateway": "sandbox", "token": "tok_ok"},
        "email": "guest@souk.example",
    }
    return demo.call("POST", "/v1/orders", body, {**caller, "Idempotency-Key": key})["id"]


def dictionary(home, name, values):
    """What schemathesis may use for a parameter."""
    lines = "".join(f'"{value}"\n' for value in values)
    (home / f"{name}.dict").write_text(lines)


def run(demo, home, title, examples, auth, filters):
    """One run; whether it found nothing."""
    print(f"--- as {title}", flush=True)
    schemes = "".join(f"\n[auth.openapi.{scheme}]\n{key} = {json.dumps(value)}\n" for scheme, key, value in auth)
    (home / "schemathesis.toml").write_text((HERE / "schemathesis.toml").read_text() + schemes)
    # With what stands in the shop in the place of the document's examples: what builds on them finds something.
    document = (home / "openapi.json").read_text()
    for made_up, real in examples.items():
        document = document.replace(f'"{made_up}"', f'"{real}"')
    (home / "tried.json").write_text(document)
    command = [
        str(pathlib.Path(sys.executable).parent / "schemathesis"),
        *("--config-file", str(home / "schemathesis.toml")),
        # From the file: from its address, it would leave out the operation that gives it.
        *("run", str(home / "tried.json"), "--url", demo.shop, "--max-examples", EXAMPLES, "--warnings", "off"),
        *filters,
    ]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "hooks", "PYTHONPATH": str(home), "SHOP": demo.shop, "SKU": examples["SHIRT-M"]}
    environment["SUCCEEDED"] = str(home / "succeeded")
    began = time.monotonic()
    try:
        code = subprocess.run(command, cwd=home, env=environment, timeout=RUN_LIMIT).returncode
    except subprocess.TimeoutExpired:
        print(f"--- ended after {RUN_LIMIT} s")
        return False
    print(f"--- as {title}: {time.monotonic() - began:.0f} s", flush=True)
    return code == 0


def check(demo, home):
    """Everything; whether nothing was found."""
    (home / "succeeded").mkdir()
    document = home / "openapi.json"
    described = demo.call("GET", "/openapi.json")
    document.write_text(json.dumps(described))
    validator = str(pathlib.Path(sys.executable).parent / "openapi-spec-validator")
    is_valid = subprocess.run([validator, str(document)]).returncode == 0

    admin = demo.call("POST", "/v1/auth/login", demo.admin)["access_token"]
    bearer = {"Authorization": f"Bearer {admin}"}
    cart = demo.call("POST", "/v1/carts")["cart_token"]
    # What there is most of, so that the stock lasts.
    products = demo.call("GET", "/v1/products?limit=100&in_stock=true")["items"]
    skus = [sku for product in products for sku in product["skus"]]
    skus = [sku["sku"] for sku in sorted(skus, key=lambda sku: -sku["available"])][:3]
    demo.call(
        "POST",
        f"/v1/admin/inventory/{skus[0]}/receipts",
        {"quantity": 100_000, "reference": "contract"},
        bearer,
    )
    orders = [
        order(demo, skus[0], caller, f"contract-{number}")
        for number, caller in enumerate([bearer, {"Cart-Token": cart}])
    ]
    shutil.copy(HERE / "hooks.py", home)
    dictionary(home, "skus", skus)
    dictionary(home, "products", [product["id"] for product in products[:3]])
    dictionary(home, "orders", orders)
    dictionary(home, "sessions", ["ses_unknown"])
    dictionary(home, "files", [f"{products[0]['id']}.svg", "page.js", "swagger-ui.css"])

    saved = demo.call("POST", "/v1/me/addresses", ADDRESS, bearer)["id"]
    examples = {"SHIRT-M": skus[0], "prd_000001": products[0]["id"], "adr_000001": saved}
    merchant = [("accessToken", "bearer", admin)]
    without = [word for name in ALONE for word in ("--exclude-operation-id", name)]
    found_nothing = [
        is_valid,
        run(demo, home, "a merchant", {**examples, "ord_000001": orders[0]}, merchant, without),
        run(
            demo,
            home,
            "a guest",
            {**examples, "ord_000001": orders[1]},
            [("cartToken", "api_key", cart)],
            ["--include-tag", "Cart", "--include-tag", "Checkout and orders"],
        ),
    ]
    for name in ALONE:
        account = {"email": f"{name.lower()}@souk.example", "password": PASSWORD, "name": "Alone"}
        token = demo.call("POST", "/v1/auth/register", account)["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        sessions = demo.call("GET", "/v1/auth/sessions", headers=bearer)["items"]
        if name in ("eraseMe", "exportMe"):
            demo.call("POST", "/v1/auth/step-up", {"password": PASSWORD}, bearer)
        dictionary(home, "sessions", [session["id"] for session in sessions])
        alone = [("accessToken", "bearer", token)]
        own = {**examples, "ses_000001": sessions[0]["id"]}
        filters = ["--include-operation-id", name, "--phases", "examples,coverage,fuzzing"]
        found_nothing.append(run(demo, home, f"an account of its own: {name}", own, alone, filters))
    operations = {operation["operationId"] for item in described["paths"].values() for operation in item.values()}
    missed = operations - {path.name for path in (home / "succeeded").iterdir()} - OUT_OF_REACH
    for operation in sorted(missed):
        print(f"--- {operation} has never succeeded, so that little of it was tested")
    return all(found_nothing) and not missed


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory(prefix="souk-contract-") as folder:
        home = pathlib.Path(folder)
        demo = Demo(sys.argv[1], home)
        try:
            found_nothing = check(demo, home)
        finally:
            demo.stop()
    sys.exit(0 if found_nothing else 1)


if __name__ == "__main__":
    main()
