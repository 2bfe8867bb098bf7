"""Fetches a URL with requests or with urllib and prints the answer, or the error as a script would see it.

fetch.py requests|urllib [--strict] URL
"""

import ssl
import sys
import urllib.request


def strict_context():
    """What ssl.create_default_context() gives from Python 3.13 on."""
    context = ssl.create_default_context()
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def with_requests(url, strict):
    import requests
    from requests.adapters import HTTPAdapter

    class Strict(HTTPAdapter):
        def init_poolmanager(self, *args, **more):
            super().init_poolmanager(*args, ssl_context=strict_context(), **more)

        def proxy_manager_for(self, proxy, **more):
            return super().proxy_manager_for(proxy, ssl_context=strict_context(), **more)

    with requests.Session() as session:
        if strict:
            session.mount("https://", Strict())
        return session.get(url, timeout=60).text


def with_urllib(url, strict):
    context = strict_context() if strict else None
    with urllib.request.urlopen(url, timeout=60, context=context) as answer:
        return answer.read().decode()


library, *options, url = sys.argv[1:]
fetch = {"requests": with_requests, "urllib": with_urllib}[library]
try:
    print(fetch(url, "--strict" in options), end="")
except Exception as error:  # whatever it is, its text is what is asked for
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(1)
