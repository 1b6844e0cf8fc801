-- rapt bench --all: every attention operator over lengths, feature sizes, passes and numbers of threads, as
-- a table, JSON and Markdown. The number of threads is fixed while a process lives, so that the figures of
-- one thread come from a process of its own.

local file = require "rapt.file"

local sweep = {}

local LENGTHS, QUICK_LENGTHS = { 256, 1024, 4096, 16384, 65536 }, { 256, 1024, 4096 }
local DIMS, QUICK_DIMS = { 64, 128 }, { 64 }
local BUDGET, QUICK_BUDGET = 2, 0.5 -- seconds that one call may take

-- Operators whose full form is another algorithm than their causal one, not just another mask.
local also_full = { flow = true }

-- --- Requests --------------------------------------------------------------------------------

local function numbers(text)
  local list = {}
  for part in text:gmatch("[^,]+") do
    local n = math.tointeger(tonumber(part))
    if not n or n < 1 then
      return nil, ("'%s': expected positive whole numbers, like 256,1024"):format(text)
    end
    list[#list + 1] = n
  end
  if #list == 0 then return nil, "expected positive whole numbers, like 256,1024" end
  return list
end

--- Adds the options to a parser of the command line.
function sweep.add_options(command)
  command:flag("--all", "Measure every attention operator over lengths, features and threads.")
  command:option("--lengths", "With --all: the lengths, like 256,1024 (256 to 65536, by 4)."):convert(numbers)
  command:option("--dims", "With --all: the feature sizes (64,128)."):convert(numbers)
  command:option("--budget", "With --all: seconds that one call may take (2)."):convert(function(text)
    local seconds = tonumber(text)
    if not seconds or seconds <= 0 then return nil, ("--budget is '%s': expected seconds"):format(text) end
    return seconds
  end)
  command:option("--threads", "With --all: all, one, or both."):choices { "all", "one", "both" }
  command:option("--markdown", "With --all: tables to a file."):argname("<file>")
  command:flag("--quick", "With --all: fewer lengths, D 64, shorter runs.")
end

--- What the command line asked for beyond a plain bench; nil and a reason where it is no request.
function sweep.from_options(options)
  for _, name in ipairs { "N", "M", "D", "E", "G", "with" } do
    if options[name] then return nil, ("bench: --all does not go with -%s"):format(name) end
  end
  for _, name in ipairs { "eager", "causal", "full", "forward", "backward" } do
    if options[name] then return nil, ("bench: --all does not go with --%s"):format(name) end
  end
  if #options.set > 0 then return nil, "bench: --all does not go with --set" end
  return { operators = options.operators, lengths = options.lengths, dims = options.dims, B = options.B,
    H = options.H, budget = options.budget, threads = options.threads, quick = options.quick,
    device = options.device, dtype = options.dtype, json = options.json and options.json[1],
    markdown = options.markdown, progress = true }
end

local function complete(request)
  local rapt, all = require "rapt", {}
  for key, value in pairs(request) do all[key] = value end
  all.operators = request.operators and #request.operators > 0 and request.operators or rapt.operators()
  for _, name in ipairs(all.operators) do rapt.describe(name) end -- unknown names are told before the work
  all.lengths = request.lengths or request.quick and QUICK_LENGTHS or LENGTHS
  all.dims = request.dims or request.quick and QUICK_DIMS or DIMS
  all.budget = request.budget or request.quick and QUICK_BUDGET or BUDGET
  all.seconds = request.seconds or request.quick and 0.05 or 0.3
  all.B, all.H = request.B or 1, request.H or 8
  all.device, all.dtype = request.device or "cpu", request.dtype or "f32"
  all.threads = request.threads or "both"
  all.peak_side = request.peak_side or request.quick and 1024 or 2048
  return all
end

-- --- Measuring -------------------------------------------------------------------------------

local function say(request, ...)
  if request.progress then io.stderr:write(string.format(...), "\n") end
end

-- One pass of one case, unless by the pass at the length before, in proportion to the operations, it would
-- take longer than the budget.
local function measure_pass(request, case, pass, before)
  local bench = require "rapt.bench"
  local flops = case.cost.flops + (pass == "forward" and 0 or case.cost.flops_backward)
  local expected = before and before.seconds * flops / before.flops
  if expected and expected > request.budget then
    return { expected = expected, over_budget = true }, { seconds = expected, flops = flops }
  end
  local measure = pass == "forward" and bench.measure_forward or bench.measure_backward
  local fine, result = pcall(measure, case)
  collectgarbage()
  if not fine then return { error = tostring(result) } end
  return result, { seconds = result.seconds, flops = flops }
end

local function pass_text(name, figures)
  local bench = require "rapt.bench"
  if figures.error then return name .. ": " .. figures.error end
  if figures.over_budget then
    return ("%s: not run, about %s"):format(name, bench.time_text(figures.expected))
  end
  return ("%s %s"):format(name, bench.time_text(figures.seconds))
end

-- One operator in one form and one feature size, over the lengths.
local function measure_lengths(request, result, name, causal, d, context)
  local bench, before = require "rapt.bench", {}
  for _, n in ipairs(request.lengths) do
    local case = bench.case(name, { N = n, D = d, B = request.B, H = request.H, causal = causal }, context)
    local row = { operator = name, causal = case.attrs.causal, D = d, N = n, with = case.with }
    for _, pass in ipairs { "forward", "forward_backward" } do
      row[pass], before[pass] = measure_pass(request, case, pass, before[pass])
    end
    result.rows[#result.rows + 1] = row
    say(request, "%s D=%d N=%d, %s: %s, %s", name, d, n,
      result.threads == 1 and "1 thread" or (result.threads or "?") .. " threads",
      pass_text("forward", row.forward), pass_text("forward+backward", row.forward_backward))
  end
end

local function add_shares(result)
  for _, row in ipairs(result.rows) do
    for _, pass in ipairs { row.forward, row.forward_backward } do
      if pass.gflops then pass.share_of_peak = pass.gflops / result.peak_gflops end
    end
  end
end

-- All cases on the threads of this process.
local function measure_here(request)
  local bench = require "rapt.bench"
  local side = request.peak_side
  local peak = bench.peak(side, request.device)
  local result = bench.machine(request.device) -- names the libraries that have been used
  local context = { device = request.device, dtype = request.dtype, seconds = request.seconds,
    clock = bench.clock(request.device) }
  result.rows, result.load_before = {}, (require("luv").loadavg())
  for _, name in ipairs(request.operators) do
    for _, d in ipairs(request.dims) do
      measure_lengths(request, result, name, nil, d, context)
      if also_full[name] then measure_lengths(request, result, name, false, d, context) end
    end
  end
  local again = bench.peak(side, request.device)
  result.load_after = (require("luv").loadavg())
  result.peak_side = side
  result.peak_gflops = math.max(peak.gflops, again.gflops)
  result.peak_gbytes = math.max(peak.gbytes, again.gbytes)
  add_shares(result)
  return result
end

-- --- The process of one thread ---------------------------------------------------------------

local function quoted(text) return "'" .. tostring(text):gsub("'", "'\\''") .. "'" end

local function checked(value, why)
  if not value then error("bench: cannot write " .. why, 0) end
  return value
end

local function write(path, text) checked(file.write(path, text)) end

-- JSON has no integers.
local function whole_numbers(run)
  run.threads = math.tointeger(run.threads)
  for _, row in ipairs(run.rows) do row.N, row.D = math.tointeger(row.N), math.tointeger(row.D) end
  return run
end

--- What the other process does: reads a request from the file, writes what it measured to it.
function sweep.child(path)
  local cjson = require "cjson"
  local request = cjson.decode(assert(file.read(path)))
  for _, name in ipairs { "lengths", "dims" } do
    for i, n in ipairs(request[name]) do request[name][i] = math.tointeger(n) end
  end
  for _, name in ipairs { "B", "H", "peak_side" } do
    request[name] = request[name] and math.tointeger(request[name])
  end
  write(path, cjson.encode(measure_here(request)))
end

local function measure_one_thread(request)
  local program, path = os.tmpname(), os.tmpname()
  write(program, "require('rapt.bench_all').child(...)")
  write(path, require("cjson").encode(request))
  -- this program again: `rapt` itself, or an interpreter with the library
  local self = assert(require("luv").exepath())
  local fine = os.execute(("RAPT_THREADS=1 %s %s %s %s"):format(quoted(self),
    self:match("([^/]*)$"):find("^lua") and "" or "run", quoted(program), quoted(path)))
  local text = assert(file.read(path))
  os.remove(program)
  os.remove(path)
  if not fine then error("bench: the process with one thread failed", 0) end
  return whole_numbers(require("cjson").decode(text))
end

--- Measures. `request`: operators (default: every attention operator), lengths, dims, B, H, budget (seconds a
--- call may take), threads ("all", "one", "both"), quick, device, dtype, seconds, progress. Returns a table
--- that prints itself.
function sweep.run(request)
  request = complete(request or {})
  -- What cannot be kept is not measured for minutes first.
  for _, path in ipairs { request.json or "", request.markdown or "" } do
    if path ~= "" then checked(file.writable(path)) end
  end
  local result = { date = os.date("%Y-%m-%d"), device = request.device, dtype = request.dtype,
    B = request.B, H = request.H, budget = request.budget, lengths = request.lengths,
    dims = request.dims, runs = {} }
  local threads = require("rapt.bench").machine(request.device).threads
  if request.threads ~= "one" or threads == 1 then result.runs[1] = measure_here(request) end
  if request.threads ~= "all" and threads and threads > 1 then
    result.runs[#result.runs + 1] = measure_one_thread(request)
  end
  return setmetatable(result, { __tostring = sweep.markdown })
end

-- --- Tables ----------------------------------------------------------------------------------

local function cells_of(figures, with_bytes)
  local bench = require "rapt.bench"
  local width = with_bytes and 5 or 4
  local cells = {}
  for i = 1, width do cells[i] = "" end
  if figures.error then
    cells[1] = figures.error:gsub("|", "\\|")
  elseif figures.over_budget then
    cells[1] = ("not run: about %s"):format(bench.time_text(figures.expected))
  else
    cells[1] = bench.time_text(figures.seconds)
    cells[2] = figures.gflops and ("%.0f"):format(figures.gflops) or ""
    cells[3] = figures.share_of_peak and ("%.0f %%"):format(figures.share_of_peak * 100) or ""
    if with_bytes then cells[4] = figures.gbytes and ("%.2f"):format(figures.gbytes) or "" end
    cells[width] = bench.bytes_text(figures.extra_bytes)
  end
  return cells
end

-- The rows of one operator in one form, from all runs: by feature size, threads, length.
local function operator_table(result, name, causal)
  local out = {
    "| D | threads | N | forward | GFLOP/s | of peak | GB/s | extra memory | forward+backward | GFLOP/s "
      .. "| of peak | extra memory |",
    "|" .. (" ---: |"):rep(12),
  }
  local with
  for _, d in ipairs(result.dims) do
    for _, run in ipairs(result.runs) do
      for _, row in ipairs(run.rows) do
        if row.operator == name and row.causal == causal and row.D == d then
          local cells = { tostring(d), tostring(run.threads or ""), tostring(row.N) }
          table.move(cells_of(row.forward, true), 1, 5, 4, cells)
          table.move(cells_of(row.forward_backward, false), 1, 4, 9, cells)
          out[#out + 1] = "| " .. table.concat(cells, " | ") .. " |"
          with = row.with
        end
      end
    end
  end
  return out, with
end

-- Operators in their forms, in the order they were measured.
local function forms_of(result)
  local list, seen = {}, {}
  for _, row in ipairs(result.runs[1] and result.runs[1].rows or {}) do
    local key = row.operator .. tostring(row.causal)
    if not seen[key] then
      seen[key] = true
      list[#list + 1] = { name = row.operator, causal = row.causal }
    end
  end
  return list
end

local function title_of(form, with)
  local parts = { form.name }
  if form.causal ~= nil then parts[#parts + 1] = form.causal and "causal" or "full" end
  if with and #with > 0 then parts[#parts + 1] = "with " .. table.concat(with, " and ") end
  return table.concat(parts, ", ")
end

--- The result as Markdown.
function sweep.markdown(result)
  local out = {}
  local first = result.runs[1] or {}
  out[#out + 1] = ("%s, %s. %s, B=%d H=%d; medians. A call that would take longer than %g s is not run: its "
    .. "time is what the length before says, in proportion to the operations."):format(first.model
    or result.device, first.detail or "", result.dtype, result.B, result.H, result.budget)
  out[#out + 1] = ""
  out[#out + 1] = "| threads | matrix product, GFLOP/s | copy, GB/s | load before | load after |"
  out[#out + 1] = "| ---: | ---: | ---: | ---: | ---: |"
  for _, run in ipairs(result.runs) do
    out[#out + 1] = ("| %s | %.1f | %.1f | %.2f | %.2f |"):format(run.threads or "", run.peak_gflops,
      run.peak_gbytes, run.load_before, run.load_after)
  end
  for _, form in ipairs(forms_of(result)) do
    local rows, with = operator_table(result, form.name, form.causal)
    out[#out + 1] = ""
    out[#out + 1] = "### " .. title_of(form, with)
    out[#out + 1] = ""
    table.move(rows, 1, #rows, #out + 1, out)
  end
  return table.concat(out, "\n") .. "\n"
end

--- Writes what was asked for with json and markdown, each a path.
function sweep.save(result, request)
  if request.json then write(request.json, require("cjson").encode(result) .. "\n") end
  if request.markdown then write(request.markdown, sweep.markdown(result)) end
end

return setmetatable(sweep, { __call = function(_, request) return sweep.run(request) end })
