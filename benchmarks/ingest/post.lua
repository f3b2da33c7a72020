-- Posts unique, realistic task status events of about 700 bytes, spread over a pool of running tasks.
-- Arguments: RUN TASKS TOKEN. RUN is a name that no other run has. The summary is one line of JSON.

local run, tasks, thread_count = nil, nil, 0
local headers = { ["Content-Type"] = "application/json" }

function setup(thread)
  thread_count = thread_count + 1
  thread:set("thread", thread_count)
end

function init(arguments)
  run, tasks = arguments[1], tonumber(arguments[2])
  headers["Authorization"] = "Bearer " .. arguments[3]
  counter, started = 0, os.time()
end

local BODY = [[{"event_type":"training_status_update","task_id":"train-%05d","status":"running",]]
  .. [["progress":%.2f,"task_type":"model_training","entity_id":"project-%04d",]]
  .. [["origin_instance":"gpu-worker-%03d.cluster.internal","origin_zone":"eu-central-1a","origin_version":"2.14.3",]]
  .. [["timestamp":"%s.%06dZ","started_at":"2026-05-01T08:00:00Z",]]
  .. [["metadata":{"epoch":%d,"step":%d,"loss":%.6f,"learning_rate":0.0003,"gpu":{"name":"NVIDIA A100-SXM4-80GB",]]
  .. [["memory_used_mb":%d,"utilisation":%d},"message":"step done","tokens_per_second":%d},]]
  .. [["additional_properties":{"sender":"%s","sequence":%d,"scheduler":"slurm","queue":"gpu-long"}}]]

function request()
  counter = counter + 1
  local number = counter * 7919 % tasks
  local step = math.floor(counter / tasks) + 1
  local body = string.format(BODY,
    number, step % 10000 / 100, number % 500, number % 200,
    os.date("!%Y-%m-%dT%H:%M:%S", started + step), counter % 1000000,
    step % 90, step, 4 / step, 40000 + counter % 30000, counter % 100, 1000 + counter % 500,
    run .. "-" .. thread, counter)
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "rejected": %d, "failed": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
