# shellcheck shell=sh
# shellcheck disable=SC2034  # what it sets is for whoever sources it
# Which build of llama.cpp suits this machine. Sourced by install.sh; looks, and changes nothing.
#
# choose_backend WISH sets: backend (cuda, metal, rocm, vulkan, native, cpu or custom), why (in words), flags (CMAKE_ARGS),
# hint (what would make a faster build possible, or nothing). Returns 1 for a wish that can't be met; why says it.

portable=-DGGML_NATIVE=OFF

has() { command -v "$1" >/dev/null 2>&1; }

# The toolkit's compiler is often there and not on PATH.
find_nvcc() {
    for nvcc in "${CUDACXX:-nvcc}" "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" /opt/cuda/bin/nvcc; do
        "$nvcc" --version >/dev/null 2>&1 && return
    done
    return 1
}

nvidia() { nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null; }

try_cuda() {
    names=$(nvidia name) || names=''
    [ -n "$names" ] || { why='nvidia-smi names no NVIDIA GPU' && return 1; }
    name=$(printf '%s\n' "$names" | head -n 1)
    if ! find_nvcc; then
        why="$name is here, but no CUDA toolkit (nvcc)"
        hint="$name: install the CUDA toolkit for a build that uses it, and run the installer again"
        return 1
    fi
    backend=cuda why=$name flags="$portable -DGGML_CUDA=ON -DCMAKE_CUDA_COMPILER=$nvcc"
    # For the GPUs that are here, and not for every one there is: a tenth of the time.
    found=$(nvidia compute_cap | tr -d '. ' | sort -u | tr '\n' ';')
    found=${found%;}
    case $found in '' | *[!0-9\;]*) ;; *) flags="$flags -DCMAKE_CUDA_ARCHITECTURES=$found" ;; esac
}

try_metal() {
    [ "$(uname -s)" = Darwin ] || { why='Metal is on Macs only' && return 1; }
    [ "$(uname -m)" = arm64 ] || { why='on Macs with Intel processors the CPU is quicker than Metal' && return 1; }
    backend=metal why='Apple silicon' flags="$portable -DGGML_METAL=ON"
}

try_rocm() {
    targets=$(rocminfo 2>/dev/null | sed -n 's/^ *Name: *\(gfx[0-9a-f]*\).*/\1/p' | grep -v '^gfx000$' | sort -u |
        tr '\n' ';')
    targets=${targets%;}
    [ -n "$targets" ] || { why='rocminfo names no AMD GPU' && return 1; }
    if ! has hipcc || ! has hipconfig; then
        why="an AMD GPU ($targets) is here, but no HIP compiler (hipcc)"
        hint="AMD GPU ($targets): install ROCm's hipcc for a build that uses it, and run the installer again"
        return 1
    fi
    backend=rocm why="AMD GPU ($targets)"
    flags="$portable -DGGML_HIP=ON -DGPU_TARGETS=$targets -DCMAKE_HIP_COMPILER=$(hipconfig -l)/clang++"
}

try_vulkan() {
    # llvmpipe and its like are the CPU under another name.
    name=$(vulkaninfo --summary 2>/dev/null | sed -n 's/^[[:space:]]*deviceName[[:space:]]*= *//p' |
        grep -v -i -e llvmpipe -e swiftshader -e lavapipe | head -n 1) || :
    [ -n "$name" ] || { why='vulkaninfo names no GPU' && return 1; }
    if ! has glslc; then
        why="$name is here, but no shader compiler (glslc)"
        [ -n "$hint" ] || hint="$name: install glslc and Vulkan's headers for a build that uses it, and run this again"
        return 1
    fi
    backend=vulkan why=$name flags="$portable -DGGML_VULKAN=ON"
}

try_native() {
    backend=native why="tuned for this computer's CPU alone" flags=-DGGML_NATIVE=ON
}

# CMAKE_ARGS of the user's own, for what has no name here: a CPU without AVX2, say.
try_custom() {
    [ -n "${CMAKE_ARGS-}" ] || { why='CMAKE_ARGS is not set' && return 1; }
    backend=custom why="CMAKE_ARGS=$CMAKE_ARGS" flags=$CMAKE_ARGS
}

try_cpu() {
    backend=cpu why='the portable build: any CPU with AVX2, or ARM' flags=$portable
    [ "$(uname -s)-$(uname -m)" != Darwin-arm64 ] || flags="$portable -DGGML_METAL=OFF"
}

choose_backend() {
    hint=''
    case $1 in
    cuda | metal | rocm | vulkan | native | cpu | custom) "try_$1" ;;
    auto)
        for each in metal cuda rocm vulkan cpu; do
            if "try_$each"; then break; fi
        done
        if [ "$backend" = cpu ] && [ -z "$hint" ] && grep -q -s avx512f /proc/cpuinfo; then
            hint='with AVX-512 here, --backend native is faster'
        fi
        ;;
    *) why="it is none of auto, cuda, metal, vulkan, rocm, native, cpu, custom" && return 1 ;;
    esac
}
