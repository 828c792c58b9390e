#!/usr/bin/env bash
# Everything that wants a GPU, in calls on a machine that has torch and no network:
#
#   bash benchmarks/wheels.sh                        before, where packages can be had
#   bash benchmarks/on_gpu.sh first OUT [DEVICE]     400 s at most: smoke, tests, speed, a profile
#   bash benchmarks/on_gpu.sh second OUT [DEVICE]    425 s at most: a study of 300,000 steps a run, speed, a profile
#   bash benchmarks/on_gpu.sh factor_vae OUT [DEVICE]  500 s at most: FactorVAE over 300,000 steps, three seeds
#
# What is to be kept lies in OUT (a folder of its own for each call), eight files at most, written as it comes:
# OUT/output.txt has what was printed, OUT/log.txt says how each part ended. A part that fails does not stop the others,
# but nothing follows a smoke that fails. No call needs another. The second compiles what it will need side
# by side, times small stacks, and takes as many seeds as the time allows (SEEDS=N decides instead). Where it finds the
# study of a call before it, it goes on with that. DEVICE cpu is a rehearsal.
set -uo pipefail
[[ $# -ge 2 && ($1 == first || $1 == second || $1 == factor_vae) ]] || { sed -n '2,/^set/s/^# \?//p' "$0"; exit 2; }
part=$1 device=${3:-cuda}
declare -A allowed=([first]=400 [second]=425 [factor_vae]=500)
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
  echo "== $name" >>"$out/output.txt"
  timeout -k 5 "$limit" "$@" > >(tee -a "$out/output.txt") 2>&1
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
  box smoke "$smoke" python3 benchmarks/gpu_smoke.py --device "$device" || { facts; return 1; }
  box tests 125 python3 -m pytest -m gpu -n "$workers" -vv --tb=short -p no:cacheprovider \
    tests/test_gpu.py tests/train/test_gpu_stack.py
  if [[ $device == cpu ]]; then
    log "   (without a GPU all of these are skipped; some tests of stacks in their place)"
    box tests_cpu 110 python3 -m pytest -n "$workers" -vv --tb=short -p no:cacheprovider tests/train/test_stacked.py \
      -k "order or programs or tracing"
  fi
  speed compile 140 "$rows,$more" --compile-only
  speed speed 160 "$rows,$more"
  profile
}

second() {
  speed compile 140 "$rows,$stacks" --compile-only
  speed speed 90 "$rows,${stacks%%,*},${stacks##*,}" # the smallest and the largest
  local limit=$(($(left) - 25)) # packing comes after it
  choose_seeds "$limit"
  if [[ $device == cpu ]]; then
    rm -rf "$scratch/study"
    study stopped "$limit" 20
    log "   (that one was to be stopped by its time limit, rc 75; the same command goes on)"
  fi
  study study "$limit" $((limit - 25)) # the last stack's scores and the tables come after its time limit
  box pack 40 python3 benchmarks/gpu_study.py pack "$scratch/study" "$out"
  profile
  speed shapes 70 vae:eager,vae:ours:bfloat16:64 --dataset shapes3d_rendered
  speed more 160 "$more"
}

factor_vae() { # measured on an H200: 291 s of steps
  study_options+=(--set "models=[$factor_vae]")
  seeds=(--seeds "${SEEDS:-3}")
  study study $(($(left) - 25)) $(($(left) - 55))
  box pack 40 python3 benchmarks/gpu_study.py pack "$scratch/study" "$out"
}

facts() { box facts 40 bash -c 'nvidia-smi; python3 -m torch.utils.collect_env; cc --version; df -h .'; }

speed() { # NAME LIMIT ROWS [OPTION...]
  local name=$1 limit=$2 rows=$3
  shift 3
  box "$name" "$limit" python3 benchmarks/gpu_speed.py --device "$device" --seconds "$row_seconds" \
    --json-lines "$out/$name.jsonl" --rows "$rows" "${speed_options[@]}" "$@"
}

profile() { # the kernels of a step
  box profile 60 python3 benchmarks/gpu_speed.py --device "$device" --profile-only vae,factor_vae \
    "${profile_options[@]}"
}

study() { # NAME LIMIT TIME_LIMIT
  box "$1" "$2" python3 -m disentangle_bench run grids/gpu_short.toml --out "$scratch/study" --device "$device" \
    --time-limit "$3s" --checkpoint-every 1h --set 'training.precision="bfloat16"' \
    "${study_options[@]}" "${seeds[@]}"
}

choose_seeds() { # SECONDS: sets `seeds`, options of `bench run`
  seeds=(--seeds "${SEEDS:-1}")
  [[ -z ${SEEDS:-} ]] || return
  local found
  if found=$(python3 benchmarks/gpu_study.py plan grids/gpu_short.toml --speed "$out/speed.jsonl" \
    --seconds "$1" "${study_options[@]}" "${plan_options[@]}" 2> >(tee -a "$out/log.txt" >&2)); then
    mapfile -t seeds <<<"$found"
  fi
  log "   study with ${seeds[*]}"
}

smoke=80 workers=8 row_seconds=1 speed_options=() study_options=() plan_options=(--most 4) profile_options=()
# What is worth most comes first: the time may be up at any row.
rows=factor_vae:eager,factor_vae:ours:bfloat16:64,vae:eager,vae:ours:bfloat16:64
more=vae:compiled,factor_vae:compiled,vae:ours:float32:64,vae:ours:bfloat16:16,factor_vae:ours:tf32:64
more+=,vae:ours:bfloat16:256,factor_vae:ours:bfloat16:128,vae:ours:tf32:64,vae:ours:bfloat16:128
factor_vae='{name="factor_vae",gamma=40}'
# Stacks of the study's first models with 2, 3 and 4 seeds.
stacks=beta_vae:ours:bfloat16:4,beta_vae:ours:bfloat16:6,beta_vae:ours:bfloat16:8
if [[ $device == cpu ]]; then # stand-ins: small stacks, few steps, one seed
  smoke=150 workers=2 row_seconds=0.2 # C++ takes longer to compile than Triton
  rows=factor_vae:eager,factor_vae:ours:bfloat16:2,vae:eager,vae:ours:bfloat16:2
  more=vae:ours:bfloat16:4,vae:compiled,vae:ours:tf32:2
  stacks=beta_vae:ours:bfloat16:2,beta_vae:ours:bfloat16:4
  speed_options=(--images 4096)
  study_options=(--set training.steps=600 --set 'network.channels=[8,8,8,8]' --set scoring.points=5000)
  [[ $part == factor_vae ]] || study_options+=(--set models.1.discriminator_width=100)
  factor_vae='{name="factor_vae",gamma=40,discriminator_width=100}'
  plan_options=(--most 1)
  profile_options=(--profile-runs 2)
fi
log "== $part on $device, $(date -u +%FT%TZ), commit $(git rev-parse HEAD 2>/dev/null || echo unknown)"
install || { log "== install: failed; is wheels/ here (bash benchmarks/wheels.sh)?"; exit 1; }
"$part"
rc=$?
log "== $part took $((SECONDS - end + allowed[$part])) s of ${allowed[$part]}"
exit $rc
