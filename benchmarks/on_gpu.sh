#!/usr/bin/env bash
# Everything that wants a GPU, in two calls on a machine that has torch and no network:
#
#   bash benchmarks/wheels.sh                      before, where packages can be had
#   bash benchmarks/on_gpu.sh first OUT [DEVICE]   590 s at most: a study of 300,000 steps a run, the tests, both forms
#                                                  of a stack's layers
#   bash benchmarks/on_gpu.sh second OUT [DEVICE]  the rest of that study, then the speed table; SECONDS_LEFT=N (200) at most
#
# What is to be kept lies in OUT (a folder of its own for each call), eight files at most, written as it comes:
# OUT/output.txt has what was printed, OUT/log.txt says how each part ended. A part that fails does not stop the others.
# The second goes on with the first's study where it finds it, and else measures speed alone. What speed needs
# compiled is compiled in the first call, beside the study. DEVICE cpu is a rehearsal.
set -uo pipefail
[[ $# -ge 2 && ($1 == first || $1 == second) ]] || { sed -n '2,/^set/s/^# \?//p' "$0"; exit 2; }
part=$1 device=${3:-cuda}
declare -A allowed=([first]=590 [second]=${SECONDS_LEFT:-200})
end=$((SECONDS + allowed[$part]))
mkdir -p "$2"
out=$(cd "$2" && pwd)
scratch=${SCRATCH:-$HOME/.disentangle_bench_gpu}/$device # a fixed place: a later call finds what one compiled
mkdir -p "$scratch/data"
scratch=$(cd "$scratch" && pwd)
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
export PYTHONPATH=$PWD:$scratch/site${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export TORCHINDUCTOR_CACHE_DIR=$scratch/inductor DISENTANGLE_BENCH_DATA=$scratch/data

log() { echo "$*" | tee -a "$out/log.txt"; }

left() { echo $((end - SECONDS - 6)); } # a part that hangs is killed 5 seconds after its time

box() { # NAME LIMIT COMMAND...: at most so many seconds, and no more than are left
  local name=$1 limit=$2 started=$SECONDS rc
  shift 2
  ((limit <= $(left))) || limit=$(left)
  ((limit >= 10)) || { log "== $name: not started, the call's time is up"; return 1; }
  echo "== $name" >>"$out/${output:-output.txt}"
  timeout -k 5 "$limit" "$@" > >(tee -a "$out/${output:-output.txt}") 2>&1
  rc=$?
  log "== $name: rc $rc, $((SECONDS - started)) s of $limit"
  return $rc
}

install() { # a wheel is a zip file: where pip is missing, unpacking is enough for these
  local wheel
  rm -rf "$scratch/site"
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$scratch/site" wheels/*.whl && return
  for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" "$scratch/site" || return 1; done
}

first() {
  output=checks.txt checks >/dev/null &
  study $(($(left) - 30))
  wait
  pack
}

checks() { # beside the study, which leaves most cores idle
  box tests 200 python3 -m pytest -m gpu -n "$workers" -vv --tb=short -p no:cacheprovider \
    tests/test_gpu.py tests/train/test_gpu_stack.py
  if [[ $device == cpu ]]; then
    log "   (without a GPU all of these are skipped; some tests of stacks in their place)"
    box tests_cpu 110 python3 -m pytest -n "$workers" -vv --tb=short -p no:cacheprovider tests/train/test_stacked.py \
      -k "order or programs or tracing"
  fi
  box smoke "$smoke" python3 benchmarks/gpu_smoke.py --device "$device"
  box facts 40 bash -c 'nvidia-smi; python3 -m torch.utils.collect_env; cc --version; df -h .'
  [[ $device == cpu ]] || speed forms 90 "$forms"
  speed compile 200 "$rows" --compile-only
  speed compile_shapes 100 "$shapes" --compile-only --dataset shapes3d_rendered
}

second() {
  if [[ -d $scratch/study ]]; then
    study $(($(left) - 60))
    pack
  fi
  speed speed 200 "$rows"
  speed shapes 60 "$shapes" --dataset shapes3d_rendered
}

speed() { # NAME LIMIT ROWS [OPTION...]
  local name=$1 limit=$2 rows=$3
  shift 3
  box "$name" "$limit" python3 benchmarks/gpu_speed.py --device "$device" --seconds "$row_seconds" \
    --json-lines "$out/$name.jsonl" --rows "$rows" "${speed_options[@]}" "$@"
}

study() { # SECONDS, of which the last 25 are for scores and tables
  box study "$1" python3 -m disentangle_bench run grids/gpu_short.toml --out "$scratch/study" --device "$device" \
    --time-limit "$(($1 - 25))s" --checkpoint-every 1h --set 'training.precision="bfloat16"' "${study_options[@]}"
}

pack() { box pack 40 python3 benchmarks/gpu_study.py "$scratch/study" "$out"; } # with weights that no call has packed

smoke=80 workers=6 row_seconds=1 speed_options=() study_options=()
# What is worth most comes first: the time may be up at any row.
rows=vae:eager,vae:ours:bfloat16:64,vae:compiled,factor_vae:eager,factor_vae:compiled,factor_vae:ours:bfloat16:64
rows+=,vae:ours:bfloat16:16,vae:ours:float32:64,factor_vae:ours:tf32:64,vae:ours:bfloat16:256,factor_vae:ours:bfloat16:16
rows+=,vae:ours:tf32:64,vae:kernels:bfloat16:64,factor_vae:kernels:bfloat16:64
# Both forms of the layers, beside the study: their ratio says which to choose, and no row says how fast either is.
forms=vae:ours:bfloat16:64,vae:kernels:bfloat16:64
shapes=vae:eager,vae:ours:bfloat16:64
if [[ $device == cpu ]]; then # stand-ins: small stacks, few steps, one seed
  smoke=150 workers=2 row_seconds=0.2 # C++ takes longer to compile than Triton
  rows=factor_vae:eager,factor_vae:ours:bfloat16:2,vae:compiled,vae:ours:tf32:2
  shapes=vae:eager,vae:ours:bfloat16:2
  speed_options=(--images 4096)
  study_options=(--seeds 1 --set training.steps=600 --set 'network.channels=[8,8,8,8]' --set scoring.points=5000)
  study_options+=(--set models.0.discriminator_width=100)
fi
log "== $part on $device, $(date -u +%FT%TZ), commit $(git rev-parse HEAD 2>/dev/null || echo unknown)"
install || { log "== install: failed; is wheels/ here (bash benchmarks/wheels.sh)?"; exit 1; }
"$part"
rc=$?
log "== $part took $((SECONDS - end + allowed[$part])) s of ${allowed[$part]}"
exit $rc
