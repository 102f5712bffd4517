#!/bin/sh
# A python3 for the tests of installer/install.sh: makes environments at once, and plays pip, the probe and Runner by
# the scripts in $STUB, which a test writes. Every call that matters is a line in $STUB/calls.
play() {
    echo "$*" >>"$STUB/calls"
    # shellcheck source=/dev/null
    [ ! -e "$STUB/$1" ] || . "$STUB/$1"
}
case "$*" in
-V) echo "Python ${STUB_VERSION:-3.11.0}" ;;
*'import fcntl'* | *'import os, sys'* | *'import subprocess'*) exec "$REAL_PYTHON" "$@" ;;
*'import metadata'*) echo 'llama-cpp-python==0.3.36' ;;
*'import folders'*)
    # shellcheck source=/dev/null
    [ ! -e "$STUB/asked" ] || . "$STUB/asked"
    if [ -e "$STUB/folders" ]; then cat "$STUB/folders"; else
        for each in data state cache config run data/models; do echo "$HOME/none/$each"; done
    fi
    ;;
*'import sys;'*) [ "${STUB_VERSION:-3.11.0}" != 3.9.0 ] ;;
*'import ensurepip'*) [ ! -e "$STUB/no-ensurepip" ] ;;
*'-m venv --clear '*)
    play venv
    mkdir -p "$5/bin" && cp "$0" "$5/bin/python"
    ;;
*'-m pip wheel '*)
    play build "$CMAKE_ARGS" "$*"
    while [ "$1" != --wheel-dir ]; do shift; done
    : >"$2/llama_cpp_python-0.3.36-py3-none-any.whl"
    ;;
*'-m pip install '*llama*runner) play needs ;;
*'-m pip install '*llama*.whl) play built ;;
*'-m pip install '*llama*) play llama "$CMAKE_ARGS" ;;
*'-m pip install '*) play source ;;
*'-m runner.engine.probe') play probe ;;
*'-m runner --version') echo 'runner 0.1.0' ;;
*'-m runner generate completion '*) echo "# completion for $6" ;;
*'-m runner service '*)
    [ -e "$STUB/service" ] || exit 2
    play service "$5" "${6-}"
    ;;
*'-m runner shutdown') play shutdown ;;
*) echo "stub python: $*" >&2 && exit 99 ;;
esac
