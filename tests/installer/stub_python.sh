#!/bin/sh
# A python3 for the tests of installer/dev: makes environments at once, and plays pip and the probe by the scripts
# in $STUB, which a test writes. Every call that matters is a line in $STUB/calls.
case "$*" in
-V) echo "Python ${STUB_VERSION:-3.11.0}" ;;
*'import fcntl'*) exec "$REAL_PYTHON" "$@" ;;
*'import sys'*) [ "${STUB_VERSION:-3.11.0}" != 3.9.0 ] ;;
*'import ensurepip'*) [ ! -e "$STUB/no-ensurepip" ] ;;
*'-m venv --clear '*)
    echo venv >>"$STUB/calls"
    rm -rf "$5" && mkdir -p "$5/bin" && cp "$0" "$5/bin/python"
    ;;
*'-m pip install '*)
    echo "pip CMAKE_ARGS=$CMAKE_ARGS $*" >>"$STUB/calls"
    # shellcheck source=/dev/null
    [ ! -e "$STUB/pip" ] || . "$STUB/pip"
    ;;
*'-m runner.engine.probe')
    echo probe >>"$STUB/calls"
    # shellcheck source=/dev/null
    [ ! -e "$STUB/probe" ] || . "$STUB/probe"
    ;;
*) echo "stub python: $*" >&2 && exit 99 ;;
esac
