-- rapt.bench: how fast operators are, against what this machine reaches in the same run.
--
--   rapt.bench{"softmax", "cog", N = 4096, dtype = "f16"}   returns a table; print it to read it
--
-- Inputs are made from each operator's description. Work is counted by the operator's own cost expressions,
-- so a share of
-- the peak says how much of the machine the *algorithm's* operations use, masked pairs not counted.

local bench = {}

local DEFAULT_SIZES = { B = 1, H = 8, N = 2048, D = 64 }
local SIZE_LETTERS = { "B", "H", "G", "N", "M", "D", "E" }
local MIN_RUNS, MAX_RUNS, MIN_SECONDS = 5, 50, 0.6
local MIN_RUNS_SLOW, SLOW_SECONDS = 3, 0.5
local PEAK_SIDE = 2048

-- --- Requests --------------------------------------------------------------------------------

--- Adds the options to a parser of the command line.
function bench.add_options(command)
  command:argument("operators", "Their names; the first is what the others are compared with. "
    .. "With --all: only these."):args("*")
  command:option("--device", "cpu, vulkan:0, ...", "cpu")
  command:option("--dtype", "f32, f16 or bf16.", "f32"):choices { "f32", "f16", "bf16" }
  for _, letter in ipairs(SIZE_LETTERS) do
    local about = { B = "batch (1)", H = "heads (8)", G = "key/value heads (H)", N = "queries (2048)",
      M = "keys (N)",
      D = "query and key features (64)", E = "value features (D)" }
    command:option("-" .. letter, about[letter]):convert(function(text)
      local n = math.tointeger(tonumber(text))
      if not n or n < 1 then return nil, ("-%s is '%s': expected a positive whole number"):format(letter,
        text) end
      return n
    end)
  end
  command:mutex(command:flag("--causal", "Causal; the default where the operator can."),
    command:flag("--full", "Every query sees every key."))
  command:option("--set", "An attribute, or a size by its letter, as name=value."):count("*")
    :argname("<name=value>")
  command:option("--with", "Optional inputs that take part, separated by commas, or none; the default is "
    .. "what the operator is usually called with."):argname("<names>")
  command:mutex(command:flag("--forward", "Only the forward pass."),
    command:flag("--backward", "Only forward and backward together."))
  command:flag("--eager", "Time a plain evaluation, too: matrix products and elementwise passes.")
  command:option("--json", "For programs: JSON on standard output; with --all, to a file."):args("?")
    :argname("<file>")
  require("rapt.bench_all").add_options(command)
end

-- What operators are called with where nobody says otherwise: without these inputs they would be another
-- operator. `fill`: inputs that are one number everywhere.
local usual = {
  lightning = { with = { "slope" }, fill = { slope = 0.05 } },
  mta = { with = { "qk_kernel", "head_kernel" }, sizes = { a = 6, b = 11, c = 2 } },
  ssa = { with = { "tau_q", "tau_v" } },
}

local function set(request, text)
  local sizes, attrs = require("rapt.inputs").parse_example(text)
  if not next(sizes) and not next(attrs) then
    error(("--set %s: expected name=value"):format(text), 0)
  end
  for letter, value in pairs(sizes) do request[letter] = value end
  for name, value in pairs(attrs) do request.attrs[name] = value end
end

-- `--json` takes a file only with --all: elsewhere what follows it is an operator.
local function operators_of(options)
  local list = table.move(options.operators, 1, #options.operators, 1, {})
  if not options.all and options.json and options.json[1] then table.insert(list, 1, options.json[1]) end
  return list
end

--- What the command line asked for, as rapt.bench takes it; nil and a reason where it is no request.
function bench.from_options(options)
  local request = { device = options.device, dtype = options.dtype, attrs = {} }
  for i, name in ipairs(operators_of(options)) do request[i] = name end
  if #request == 0 and not options.all then return nil, "bench: which operators? (or --all)" end
  request.eager = options.eager
  for _, letter in ipairs(SIZE_LETTERS) do request[letter] = options[letter] end
  if options.causal then request.causal = true end
  if options.full then request.causal = false end
  request.passes = options.backward and "backward" or options.forward and "forward" or nil
  for _, text in ipairs(options.set) do set(request, text) end
  if options.with then
    request.with = {}
    for name in options.with:gmatch("[^,%s]+") do
      if name ~= "none" then request.with[#request.with + 1] = name end
    end
  end
  return request
end

local known = { device = true, dtype = true, attrs = true, causal = true, passes = true, seconds = true,
  peak_side = true, with = true, eager = true }

local function check_request(request)
  if type(request) ~= "table" or #request == 0 then
    error('rapt.bench: expected names of operators, like rapt.bench{"softmax", "cog"}', 0)
  end
  for key in pairs(request) do
    if type(key) == "string" and not known[key] and not key:match("^%a$") then
      error(("rapt.bench: no option '%s'; there are the sizes (B, H, N ...), attrs, causal, device, dtype, "
        .. "eager, passes, peak_side, seconds, with"):format(key), 0)
    end
  end
  if request.eager and (request.passes == "backward" or (request.dtype or "f32") ~= "f32"
      or (request.device or "cpu") ~= "cpu") then
    error("rapt.bench: eager is the forward pass in f32 on the CPU", 0)
  end
end

-- --- Measuring -------------------------------------------------------------------------------

local function bytes_of(tensor)
  local sizes = { f32 = 4, f16 = 2, bf16 = 2, f64 = 8, i32 = 4, i64 = 8, u8 = 1, bool = 1 }
  local n = sizes[tensor.dtype]
  for _, size in ipairs(tensor.shape) do n = n * size end
  return n
end

local function collect()
  collectgarbage()
  collectgarbage()
end

--- Waits for a device and reads a clock that counts its work: its own, or the host's where it has none.
function bench.clock(device)
  local rapt = require "rapt"
  if rapt.device_seconds(device) then
    return function() return rapt.device_seconds(device) end
  end
  local uv = require "luv"
  return function()
    rapt.synchronize(device)
    return uv.hrtime() * 1e-9
  end
end

-- Seconds of each of several runs, after some that warm up, sorted. Slow calls are run less often.
local function time_runs(run, clock, at_least)
  local times, total = {}, 0
  local function once()
    collectgarbage()
    local start = clock()
    run()
    return clock() - start
  end
  local slow = once() > SLOW_SECONDS
  if not slow then once() end
  while #times < (slow and MIN_RUNS_SLOW or MIN_RUNS) or (total < at_least and #times < MAX_RUNS) do
    times[#times + 1] = once()
    total = total + times[#times]
  end
  table.sort(times)
  return times
end

local function summary(times, flops, bytes)
  local median = #times % 2 == 1 and times[#times // 2 + 1]
    or (times[#times // 2] + times[#times // 2 + 1]) / 2
  return {
    seconds = median, seconds_min = times[1], seconds_max = times[#times], runs = #times,
    gflops = flops and flops / median * 1e-9, gbytes = bytes and bytes / median * 1e-9,
  }
end

-- Bytes in use at the worst moment beyond what was there before and what `run` leaves behind.
local function extra_memory(rapt, run)
  collect()
  local before = rapt.memory("reset").current
  local kept = run()
  local peak = rapt.memory().peak
  local left = 0
  for _, tensor in ipairs(kept) do left = left + bytes_of(tensor) end
  return math.max(0, peak - before - left)
end

local function all_outputs(first, others)
  local list = { first }
  for _, tensor in pairs(others or {}) do list[#list + 1] = tensor end
  return list
end

local function measure_forward(case)
  local rapt = case.rapt
  local function run()
    return rapt.no_grad(function() return all_outputs(rapt.call(case.op, case.inputs, case.attrs)) end)
  end
  local times = time_runs(run, case.clock, case.seconds)
  local result = summary(times, case.cost.flops, case.cost.bytes)
  result.extra_bytes = extra_memory(rapt, run)
  return result
end

local function measure_backward(case)
  local rapt = case.rapt
  local dy = rapt.no_grad(function()
    local y = rapt.call(case.op, case.inputs, case.attrs)
    return rapt.randn(y.shape, { dtype = y.dtype, device = y.device })
  end)
  local function run()
    local fresh, leaves = {}, {}
    for name, tensor in pairs(case.inputs) do
      if case.differentiable[name] then
        fresh[name] = tensor:detach():requires_grad_()
        leaves[#leaves + 1] = fresh[name]
      else
        fresh[name] = tensor
      end
    end
    local out = rapt.call(case.op, fresh, case.attrs)
    out:backward(dy)
    local kept = { out }
    for _, leaf in ipairs(leaves) do kept[#kept + 1] = leaf.grad end
    return kept
  end
  local times = time_runs(run, case.clock, case.seconds)
  local flops = case.cost.flops + case.cost.flops_backward
  local result = summary(times, flops, nil)
  result.extra_bytes = extra_memory(rapt, run)
  return result
end

-- The plain evaluation of the same call.
local function measure_eager(case)
  local rapt = case.rapt
  local plain = require("rapt.eager").prepare(case.op, case.inputs, case.attrs)
  local function run() return rapt.no_grad(function() return { plain() } end) end
  local result = summary(time_runs(run, case.clock, case.seconds), case.cost.flops)
  result.extra_bytes = extra_memory(rapt, run)
  return result
end

-- The attributes of a call: those asked for, and causal where the operator can and nobody said otherwise.
local function attributes_of(description, request)
  local attrs, has_causal = {}, false
  local _, example = require("rapt.inputs").parse_example(description.example)
  for _, attr in ipairs(description.attrs) do
    if attr.required and example[attr.name] ~= nil then attrs[attr.name] = example[attr.name] end
    if attr.name == "causal" then has_causal = true end
  end
  for name, value in pairs(request.attrs or {}) do attrs[name] = value end
  if request.causal ~= nil and (has_causal or request.causal ~= (description.causal
    and not description.full)) then
    attrs.causal = request.causal
  elseif has_causal and description.causal and attrs.causal == nil then
    attrs.causal = true
  end
  return attrs
end

--- One call to be measured: inputs, attributes, cost. `context`: device, dtype, seconds (at least so long for
--- each figure), clock.
function bench.case(name, request, context)
  local rapt, make = require "rapt", require "rapt.inputs"
  local description, common = rapt.describe(name), usual[name] or {}
  local with, letters = request.with or common.with, common.sizes or {}
  local sizes = make.sizes(description, setmetatable({}, {
    __index = function(_, letter) return request[letter] or DEFAULT_SIZES[letter] or letters[letter] end,
  }), with)
  local attrs = attributes_of(description, request)
  rapt.manual_seed(1)
  local case = { rapt = rapt, op = name, attrs = attrs, sizes = sizes, seconds = context.seconds,
    clock = context.clock, differentiable = {}, with = with,
    inputs = make.make(description, sizes, attrs, { dtype = context.dtype, device = context.device,
      with = with }) }
  for input, value in pairs(common.fill or {}) do
    if case.inputs[input] then case.inputs[input]:fill_(value) end
  end
  for _, input in ipairs(description.inputs) do case.differentiable[input.name] = input.differentiable end
  case.cost = rapt.cost(name, case.inputs, attrs)
  return case
end

bench.measure_forward, bench.measure_backward = measure_forward, measure_backward

local function measure(name, request, context)
  local case = bench.case(name, request, context)
  local row = { operator = name, sizes = case.sizes, attrs = case.attrs, with = case.with,
    visible_pairs = case.cost.pairs, all_pairs = case.cost.pairs_all }
  if request.passes ~= "backward" then row.forward = measure_forward(case) end
  if request.passes ~= "forward" then
    local fine, result = pcall(measure_backward, case)
    if fine then row.forward_backward = result else row.no_backward = tostring(result) end
  end
  if request.eager then
    local fine, result = pcall(measure_eager, case)
    if fine then
      row.eager = result
      row.times_faster = result.seconds / row.forward.seconds
    else
      row.no_eager = tostring(result)
    end
  end
  return row
end

--- What the machine reaches: a matrix product of `side` cubed, a large copy.
function bench.peak(side, device)
  local rapt = require "rapt"
  return { gflops = rapt.measure { gemm = side, device = device },
    gbytes = rapt.measure { copy = true, device = device } }
end

--- What is known of a device: device, model, detail, threads.
function bench.machine(device)
  local result = { device = device }
  for _, info in ipairs(require("rapt").devices()) do
    if info.name == device then
      result.model, result.detail = info.model, info.detail
      result.threads = math.tointeger(tonumber((info.detail or ""):match("(%d+) threads?")))
    end
  end
  return result
end

--- Measures. `request`: operator names in order, sizes by letter, attrs, causal, device, dtype, passes
-- ("forward", "backward"
-- or nil for both), seconds (at least so long for each figure), with (names of optional inputs), eager (the
-- plain evaluation of
--- the forward pass, too). Returns a table that prints itself.
function bench.run(request)
  check_request(request)
  local rapt = require "rapt"
  local device, dtype = request.device or "cpu", request.dtype or "f32"
  -- unknown names are told before anything is measured
  for _, name in ipairs(request) do rapt.describe(name) end
  local side = request.peak_side or PEAK_SIDE
  local peak = bench.peak(side, device)
  local result = bench.machine(device)
  result.dtype, result.peak_gflops, result.peak_gbytes = dtype, peak.gflops, peak.gbytes
  result.peak_side, result.rows = side, {}
  result.own_clock = rapt.device_seconds(device) and true or nil
  local context = { device = device, dtype = dtype, seconds = request.seconds or MIN_SECONDS,
    clock = bench.clock(device) }
  for i, name in ipairs(request) do result.rows[i] = measure(name, request, context) end
  -- The machine may be busy with other things: what it reached at its best, before or after, is the peak.
  local again = bench.peak(side, device)
  result.peak_gflops = math.max(result.peak_gflops, again.gflops)
  result.peak_gbytes = math.max(result.peak_gbytes, again.gbytes)
  local first = result.rows[1]
  for _, row in ipairs(result.rows) do
    for _, pass in ipairs { "forward", "forward_backward" } do
      local figures = row[pass]
      if figures and first[pass] then figures.ratio = figures.seconds / first[pass].seconds end
      if figures and figures.gflops then figures.share_of_peak = figures.gflops / result.peak_gflops end
    end
  end
  return setmetatable(result, { __tostring = bench.text })
end

-- --- For people ------------------------------------------------------------------------------

function bench.time_text(seconds)
  if seconds >= 1 then return ("%.2f s"):format(seconds) end
  if seconds >= 1e-3 then return ("%.3g ms"):format(seconds * 1e3) end
  return ("%.3g us"):format(seconds * 1e6)
end

function bench.bytes_text(n)
  if n >= 1 << 30 then return ("%.2f GiB"):format(n / (1 << 30)) end
  if n >= 1 << 20 then return ("%.1f MiB"):format(n / (1 << 20)) end
  return ("%.0f KiB"):format(n / 1024)
end

local time_text, bytes_text = bench.time_text, bench.bytes_text

local function sizes_text(row)
  local parts = {}
  for _, letter in ipairs(SIZE_LETTERS) do
    if row.sizes[letter] then parts[#parts + 1] = letter .. "=" .. row.sizes[letter] end
  end
  local others = {}
  for letter, value in pairs(row.sizes) do
    if not table.concat(SIZE_LETTERS):find(letter, 1, true) then others[#others + 1] = letter .. "="
      .. value end
  end
  for name, value in pairs(row.attrs) do
    if type(value) == "table" then value = table.concat(value, ",") end
    others[#others + 1] = name .. "=" .. tostring(value)
  end
  table.sort(others)
  if row.with and #row.with > 0 then others[#others + 1] = "with " .. table.concat(row.with, ", ") end
  return table.concat(table.move(others, 1, #others, #parts + 1, parts), " ")
end

local function pass_cells(name, label, pass)
  return {
    name, label, time_text(pass.seconds),
    ("%s .. %s"):format(time_text(pass.seconds_min), time_text(pass.seconds_max)),
    pass.gflops and ("%.1f"):format(pass.gflops) or "-",
    pass.share_of_peak and ("%.0f %%"):format(pass.share_of_peak * 100) or "-",
    pass.gbytes and ("%.2f"):format(pass.gbytes) or "-",
    bytes_text(pass.extra_bytes), pass.ratio and ("%.2f"):format(pass.ratio) or "-",
  }
end

local heads = { "operator", "pass", "time", "least .. most", "GFLOP/s", "of peak", "GB/s", "extra memory",
  "ratio" }

--- The result as a table for people.
function bench.text(result)
  local wrap = require("rapt.terminal").wrap
  local lines = { heads }
  for _, row in ipairs(result.rows) do
    local name = row.operator
    if row.forward then
      lines[#lines + 1] = pass_cells(name, "forward", row.forward)
      name = ""
    end
    if row.forward_backward then
      lines[#lines + 1] = pass_cells(name, "forward+backward", row.forward_backward)
      name = ""
    end
    if row.eager then lines[#lines + 1] = pass_cells(name, "eager forward", row.eager) end
  end
  local widths = {}
  for _, cells in ipairs(lines) do
    for i, cell in ipairs(cells) do widths[i] = math.max(widths[i] or 0, #cell) end
  end
  local out = {
    wrap(table.concat({ result.device .. " " .. result.dtype, result.model, result.detail }, ", "), 100),
    ("peak of this run: %.1f GFLOP/s (%s, f32), %.1f GB/s (copy)%s"):format(result.peak_gflops,
      result.own_clock and "multiply-adds in registers"
        or ("matrix product of %d cubed"):format(result.peak_side), result.peak_gbytes,
      result.own_clock and "; times by the device's own clock" or ""),
  }
  local last
  for _, row in ipairs(result.rows) do
    local text = sizes_text(row)
    if text ~= last then out[#out + 1] = row.operator .. ": " .. text end
    last = text
  end
  out[#out + 1] = ""
  for _, cells in ipairs(lines) do
    local parts = {}
    for i, cell in ipairs(cells) do
      parts[i] = i <= 2 and cell .. (" "):rep(widths[i] - #cell) or (" "):rep(widths[i] - #cell) .. cell
    end
    out[#out + 1] = (table.concat(parts, "  "):gsub(" +$", ""))
  end
  for _, row in ipairs(result.rows) do
    if row.no_backward then out[#out + 1] = ("%s: no backward: %s"):format(row.operator, row.no_backward) end
    if row.no_eager then out[#out + 1] = ("%s: no eager: %s"):format(row.operator, row.no_eager) end
    if row.times_faster then
      out[#out + 1] = ("%s: %.1f times faster than eager"):format(row.operator, row.times_faster)
    end
  end
  return table.concat(out, "\n") .. "\n"
end

return setmetatable(bench, { __call = function(_, request) return bench.run(request) end })
