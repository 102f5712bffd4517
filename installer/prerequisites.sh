# shellcheck shell=sh
# What a build needs, and what it is called where. Sourced by install.sh; says nothing by itself.
#
# Sets: python (a command), missing (lines about what isn't there), wanted (packages to install).

# How this system installs packages: apt, dnf, pacman, zypper, apk, brew, or nothing that is known here.
package_manager() {
    [ "$(uname -s)" = Darwin ] && echo brew && return
    for manager in apt-get dnf pacman zypper apk; do
        command -v "$manager" >/dev/null 2>&1 && echo "$manager" && return
    done
    echo unknown
}

# The package for a need (python, venv, compiler, cmake) as this system calls it; nothing where none has to be added.
package_for() {
    case $2:$1 in
    brew:python | brew:venv) echo python ;;
    brew:cmake) echo cmake ;;
    brew:compiler) ;; # xcode-select, which is no package
    apt-get:python) echo 'python3 python3-venv' ;;
    apt-get:venv) echo "${python##*/}-venv" ;;
    apt-get:compiler) echo g++ ;;
    dnf:compiler | zypper:compiler) echo gcc-c++ ;;
    pacman:compiler) echo gcc ;;
    apk:compiler) echo 'build-base linux-headers' ;;
    pacman:python) echo python ;;
    zypper:python) echo python311 ;;
    apk:python) echo 'python3 python3-dev' ;;
    *:python | *:venv) echo python3 ;;
    *:cmake) echo cmake ;;
    esac
}

install_command() {
    case $1 in
    apt-get) echo 'sudo apt install' ;;
    dnf) echo 'sudo dnf install' ;;
    pacman) echo 'sudo pacman -S' ;;
    zypper) echo 'sudo zypper install' ;;
    apk) echo 'sudo apk add' ;;
    brew) echo 'brew install' ;;
    *) echo 'with your package manager:' ;;
    esac
}

lacks() { # lacks NEED WORDS
    missing="$missing$2
"
    wanted="$wanted $(package_for "$1" "$(package_manager)")"
}

# Run, not only looked up: on a bare Mac c++ and python3 are stand-ins that exist and fail.
find_python() {
    if [ -n "${PYTHON-}" ]; then set -- "$PYTHON"; else
        set -- python3 python3.14 python3.13 python3.12 python3.11
    fi
    for python in "$@"; do
        "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && return
    done
    python=$1
    found=$("$1" -V 2>/dev/null) && found="found $found" || found="found no $1"
    lacks python "Python 3.11 or newer ($found; PYTHON=... names another)"
    return 1
}

find_compiler() {
    for compiler in "${CXX:-c++}" g++ clang++; do
        $compiler --version >/dev/null 2>&1 && return # unquoted: CXX may be "ccache g++"
    done
    return 1
}

# check_prerequisites BUILDS: with `yes`, a compiler and cmake are needed too.
check_prerequisites() {
    missing='' wanted=''
    if find_python && ! "$python" -I -c 'import ensurepip, venv' >/dev/null 2>&1; then
        lacks venv "the modules venv and ensurepip of $python"
    fi
    if [ "$1" = yes ]; then
        find_compiler || lacks compiler 'a C++ compiler'
        cmake --version >/dev/null 2>&1 || lacks cmake cmake
    fi
    [ -z "$missing" ]
}

say_what_is_missing() {
    printf '%s' "$missing" | while IFS= read -r line; do say "missing: $line"; done
    case $missing in *compiler*) [ "$(uname -s)" != Darwin ] || say '    xcode-select --install' ;; esac
    set -f
    # shellcheck disable=SC2086  # a list of words, made one blank apart
    set -- $wanted
    set +f
    [ $# -eq 0 ] || say "    $(install_command "$(package_manager)") $*"
}
