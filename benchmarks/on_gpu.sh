#!/usr/bin/env bash
# Everything that wants a GPU, in two calls, either of which may come alone, on a machine that has torch and no network:
#
#   bash benchmarks/wheels.sh                        before, where packages can be had
#   bash benchmarks/on_gpu.sh measure OUT [DEVICE]   SECONDS_LEFT=N (590) at most: `check`, then `time`, which may be
#                                                    had apart: the tests; with nothing beside them the speed table, the
#                                                    kernels of a step, the kernels' tiles
#   bash benchmarks/on_gpu.sh study OUT [DEVICE] [OPTION...]
#                                                    SECONDS_LEFT=N (590) at most: nine runs of 300,000 steps; OPTIONs
#                                                    are those of `bench run`. It goes on with the study in carried/,
#                                                    where an earlier call's study.tgz and weights.tar.? are put
#
# What is to be kept lies in OUT (a folder of its own for each call), eight files at most, written as it comes:
# OUT/output.txt has what was printed, OUT/log.txt says how each part ended. A part that fails does not stop the others.
# What speed needs compiled is compiled beside the tests. DEVICE cpu is a rehearsal.
set -uo pipefail
[[ $# -ge 2 && $1 =~ ^(measure|check|time|study)$ ]] || { sed -n '2,/^set/s/^# \?//p' "$0"; exit 2; }
part=$1 device=${3:-cuda}
allowed=${SECONDS_LEFT:-590}
end=$((SECONDS + allowed))
mkdir -p "$2"
out=$(cd "$2" && pwd)
shift $(($# < 3 ? $# : 3))
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

install() { # once for all parts, also for those that run beside each other
  local wheel new=$scratch/site.$$
  [[ $scratch/site -nt wheels ]] && return
  rm -rf "$new"
  # a wheel is a zip file: where pip is missing, unpacking is enough for these
  if ! python3 -m pip install -q --no-index --no-deps --no-compile --target "$new" wheels/*.whl; then
    for wheel in wheels/*.whl; do python3 -m zipfile -e "$wheel" "$new" || return 1; done
  fi
  rm -rf "$scratch/site"
  mv -T "$new" "$scratch/site" && touch "$scratch/site"
}

measure() {
  check
  time_alone
}

check() {
  compile &
  tests
  wait
}

time_alone() {
  speed speed 240 "$rows"
  speed shapes 70 "$shapes" --dataset shapes3d_rendered
  [[ $device == cpu ]] && return
  box profile 60 python3 benchmarks/gpu_speed.py --profile-only --rows "$profiled"
  box tiles 90 python3 benchmarks/kernel_tiles.py --json-lines "$out/tiles.jsonl"
}

tests() {
  box tests 300 python3 -m pytest -m gpu -n "$workers" -vv --tb=short -p no:cacheprovider \
    tests/test_gpu.py tests/train/test_gpu_stack.py
  if [[ $device == cpu ]]; then
    log "   (without a GPU all of these are skipped; some tests of stacks in their place)"
    box tests_cpu 110 python3 -m pytest -n "$workers" -vv --tb=short -p no:cacheprovider tests/train/test_stacked.py \
      -k "order or programs or tracing"
  fi
  box smoke "$smoke" python3 benchmarks/gpu_smoke.py --device "$device"
  box facts 40 bash -c 'nvidia-smi; python3 -m torch.utils.collect_env; cc --version; df -h .'
}

compile() { # beside the tests, which leave most cores idle
  output=compile.txt
  speed compile 200 "$rows" --compile-only &
  speed compile_shapes 200 "$shapes" --compile-only --dataset shapes3d_rendered &
  [[ $device == cpu ]] || box compile_tiles 200 python3 benchmarks/kernel_tiles.py --compile-only &
  wait
} >/dev/null

speed() { # NAME LIMIT ROWS [OPTION...]
  local name=$1 limit=$2 rows=$3
  shift 3
  box "$name" "$limit" python3 benchmarks/gpu_speed.py --device "$device" --seconds "$row_seconds" \
    --json-lines "$out/$name.jsonl" --rows "$rows" "${speed_options[@]}" "$@"
}

study() { # OPTION...; the last 40 seconds are for scores, tables and packing
  if [[ -f carried/study.tgz && ! -d $scratch/study ]]; then
    { tar xzf carried/study.tgz -C "$scratch" && cat carried/weights.tar.? | tar x -C "$scratch"; } ||
      log "== carried: damaged; what could be unpacked is gone on with"
  fi
  box study $(($(left) - 10)) python3 -m disentangle_bench run grids/gpu_short.toml --out "$scratch/study" \
    --device "$device" --time-limit "$(($(left) - 40))s" --checkpoint-every 1h --set 'training.precision="bfloat16"' \
    "${study_options[@]}" "$@"
  box pack 40 python3 benchmarks/gpu_study.py "$scratch/study" "$out" # with weights that no call has packed
}

smoke=80 workers=6 row_seconds=1 speed_options=() study_options=()
# What is worth most comes first: the time may be up at any row.
rows=vae:eager,vae:ours:bfloat16:64,vae:kernels:bfloat16:64
rows+=,factor_vae:eager,factor_vae:ours:bfloat16:64,factor_vae:kernels:bfloat16:64
rows+=,factor_vae:compiled,vae:kernels:bfloat16:16,factor_vae:kernels:bfloat16:4,vae:kernels:tf32:64
rows+=,vae:ours:bfloat16:256,vae:kernels:bfloat16:256
shapes=vae:eager,vae:ours:bfloat16:64,vae:kernels:bfloat16:64
profiled=vae:kernels:bfloat16:64,factor_vae:kernels:bfloat16:64
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
call=$part
[[ $part != time ]] || call=time_alone # `time` is a word of the shell
"$call" "$@"
rc=$?
log "== $part took $((SECONDS - end + allowed)) s of $allowed"
exit $rc
