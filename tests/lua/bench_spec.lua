-- rapt.bench: inputs from descriptions, figures that agree with one another, JSON.

package.path = (debug.getinfo(1, "S").source:match("^@(.*)bench_spec%.lua$") or "") .. "?.lua;"
  .. package.path
local helper = require "cli_helper"
local inputs = require "rapt.inputs"
local rapt = require "rapt"

-- Small enough to be quick; figures of speed mean nothing here.
local function quick(request)
  request.seconds, request.peak_side = 0.001, 128
  request.B, request.H, request.N, request.D = request.B or 1, request.H or 2, request.N or 48, request.D
    or 16
  return rapt.bench(request)
end

describe("inputs", function()
  it("evaluates size expressions", function()
    local sizes, attrs = { N = 33, D = 8, L = 6 }, { cq = 3 }
    for expression, expected in pairs { N = 33, ["N?"] = 33, ["ceil_log2(N)+1"] = 7, cq = 3,
      ["min(N,D)*2"] = 16,
      ["D/2"] = 4, ["N%D"] = 1 } do
      assert.equal(expected, inputs.evaluate(expression, sizes, attrs))
    end
    assert.has_error(function() inputs.evaluate("Q", sizes, attrs) end, "'Q' has no value")
  end)

  it("fills sizes in: given, their partners, the example", function()
    local d = rapt.describe("softmax")
    local sizes = inputs.sizes(d, { B = 1, H = 6, N = 7, D = 5 })
    assert.same({ B = 1, H = 6, G = 6, N = 7, M = 7, D = 5, E = 5 }, {
      B = sizes.B, H = sizes.H, G = sizes.G, N = sizes.N, M = sizes.M, D = sizes.D, E = sizes.E })
    assert.equal(2, inputs.sizes(d, { H = 6, G = 2 }).G)
  end)

  it("makes optional inputs where they are named, with the example's sizes of their own", function()
    local d = rapt.describe("mta")
    local with = { "qk_kernel", "head_kernel" }
    local sizes = inputs.sizes(d, { B = 1, H = 4, N = 9, D = 8, a = 2 }, with)
    local made = inputs.make(d, sizes, {}, { dtype = "f32", device = "cpu", with = with })
    assert.same({ 4, 2, 5 }, { table.unpack(made.qk_kernel.shape) })
    assert.same({ 2, 2, 2 }, { table.unpack(made.head_kernel.shape) })
    assert.is_nil(made.qk_kernel_post)
    assert.has_error(function() inputs.sizes(d, {}, { "kernel" }) end, "mta has no input 'kernel'")
  end)

  it("makes what a stream's activation gives", function()
    local d = { name = "made", attrs = {}, example = "B=2 N=50", inputs = {
      { name = "g", spec = "g: B N", dtype = "T", role = "stream", activation = "-softplus" },
      { name = "t", spec = "t: B N", dtype = "T", role = "stream", activation = "1 + tanh" },
      { name = "ids", spec = "ids: B N", dtype = "i64", role = "argument" },
      { name = "left", spec = "left: B", dtype = "T", role = "argument", optional = true } } }
    local made = inputs.make(d, inputs.sizes(d, {}), {}, { dtype = "f32", device = "cpu" })
    assert.is_nil(made.left)
    assert.equal("i64", made.ids.dtype)
    assert.same({ 2, 50 }, { table.unpack(made.g.shape) })
    for _, row in ipairs(made.g:totable()) do
      for _, x in ipairs(row) do assert.is_true(x <= 0) end
    end
    for _, row in ipairs(made.t:totable()) do
      for _, x in ipairs(row) do assert.is_true(x >= 0 and x <= 2) end
    end
  end)
end)

describe("bench", function()
  it("measures every operator forward and backward", function()
    local request = {}
    for i, name in ipairs(rapt.operators()) do request[i] = name end
    local result = quick(request)
    assert.equal(#request, #result.rows)
    for i, row in ipairs(result.rows) do
      assert.equal(request[i], row.operator)
      assert.is_nil(row.no_backward)
      for _, pass in ipairs { row.forward, row.forward_backward } do
        assert.is_true(pass.seconds > 0 and pass.seconds_min <= pass.seconds
          and pass.seconds <= pass.seconds_max)
        assert.is_true(pass.runs >= 5 and pass.extra_bytes >= 0)
        assert.near(pass.gflops / result.peak_gflops, pass.share_of_peak, 1e-9)
        assert.near(pass.seconds / result.rows[1][pass == row.forward and "forward"
          or "forward_backward"].seconds,
          pass.ratio, 1e-9)
      end
    end
  end)

  it("counts the work by the operator's cost", function()
    local row = quick({ "softmax", causal = true, passes = "forward" }).rows[1]
    assert.is_nil(row.forward_backward)
    assert.equal(48 * 49 // 2, row.visible_pairs)
    assert.equal(48 * 48, row.all_pairs)
    local cost = rapt.cost("softmax", { q = rapt.ones(1, 2, 48, 16), k = rapt.ones(1, 2, 48, 16),
      v = rapt.ones(1, 2, 48, 16) }, { causal = true })
    assert.near(cost.flops / row.forward.seconds * 1e-9, row.forward.gflops, 1e-6)
  end)

  it("is causal unless told otherwise, and takes other sizes, dtypes and attributes", function()
    assert.is_true(quick({ "cog", passes = "forward" }).rows[1].attrs.causal)
    assert.is_false(quick({ "cog", passes = "forward", causal = false }).rows[1].attrs.causal)
    local result = quick { "cog", "softmax", dtype = "f16", M = 20, G = 1, attrs = { scale = 0.5 },
      passes = "backward" }
    assert.equal("f16", result.dtype)
    assert.same({ 20, 1, 0.5 }, { result.rows[1].sizes.M, result.rows[1].sizes.G,
      result.rows[1].attrs.scale })
    assert.is_nil(result.rows[1].forward)
  end)

  it("prints itself as a table", function()
    local text = tostring(quick { "softmax", "cog" })
    for _, word in ipairs { "softmax", "cog", "forward+backward", "GFLOP/s", "of peak", "ratio", "N=48" } do
      assert.truthy(text:find(word, 1, true), word)
    end
  end)

  it("says what is wrong with a request", function()
    local function fails(message, request)
      local fine, why = pcall(rapt.bench, request)
      assert.is_false(fine)
      assert.truthy(tostring(why):find(message, 1, true), tostring(why))
    end
    fails("expected names of operators", {})
    fails("no option 'causl'", { "softmax", causl = true })
    fails('did you mean "softmax"', { "sofmax" })
    fails("scael", { "softmax", N = 8, peak_side = 64, attrs = { scael = 1 } })
  end)

  it("measures the plain evaluation beside the operator", function()
    local result = quick { "softmax", "lightning", eager = true, passes = "forward" }
    for _, row in ipairs(result.rows) do
      assert.is_nil(row.no_eager)
      assert.is_true(row.eager.seconds > 0 and row.eager.runs >= 3)
      assert.near(row.eager.seconds / row.forward.seconds, row.times_faster, 1e-9)
    end
    assert.truthy(tostring(result):find("lightning: [%d.]+ times faster than eager"))
    for _, wrong in ipairs { { dtype = "f16" }, { passes = "backward" } } do
      wrong[1], wrong.eager = "softmax", true
      assert.has_error(function() quick(wrong) end,
        "rapt.bench: eager is the forward pass in f32 on the CPU")
    end
  end)

  it("says where there is no plain evaluation", function()
    local fine, why = pcall(require("rapt.eager").prepare, "core.matmul", {}, {})
    assert.same({ false, "eager: there is no plain form of core.matmul" }, { fine, why })
  end)

  it("uses what an operator is usually called with, unless told", function()
    local row = quick({ "mta", passes = "forward", N = 20 }).rows[1]
    assert.same({ "qk_kernel", "head_kernel" }, row.with)
    assert.same({ 6, 11, 2 }, { row.sizes.a, row.sizes.b, row.sizes.c })
    row = quick({ "mta", passes = "forward", N = 20, a = 2, with = { "qk_kernel" } }).rows[1]
    assert.same({ 2, 11 }, { row.sizes.a, row.sizes.b })
    assert.is_nil(row.sizes.c)
    assert.is_nil(quick({ "mta", passes = "forward", N = 20, with = {} }).rows[1].sizes.a)
  end)

  it("prints JSON", function()
    local status, out, err = helper.rapt("bench softmax cog --json -N 64 -H 2 -D 16 --set scale=0.1 --full")
    assert.same({ 0, "" }, { status, err })
    local result = require("cjson").decode(out)
    assert.equal(2, #result.rows)
    assert.equal("f32", result.dtype)
    assert.is_true(result.threads >= 1 and result.peak_gflops > 0 and result.peak_gbytes > 0)
    local row = result.rows[2]
    assert.equal("cog", row.operator)
    assert.same({ causal = false, scale = 0.1 }, row.attrs)
    for _, field in ipairs { "seconds", "seconds_min", "seconds_max", "runs", "gflops", "share_of_peak",
      "ratio",
      "extra_bytes" } do
      assert.equal("number", type(row.forward[field]), field)
      assert.equal("number", type(row.forward_backward[field]), field)
    end
  end)
end)

-- The plain forms are what bench compares with: they must compute the same.
describe("eager", function()
  local eager = require "rapt.eager"

  local function agrees(name, given, attrs)
    local want = rapt.call(name, given, attrs)
    local run = eager.prepare(name, given, attrs)
    run() -- what is kept between calls must not be used up
    local fine, off = rapt.allclose(run(), want, { rtol = 1e-4, atol = 5e-5 })
    assert.is_true(fine, ("%s is off by %g"):format(name, off))
  end

  for _, n in ipairs { 1, 7, 70, 130 } do
    it("computes what the operators do, N = " .. n, function()
      rapt.manual_seed(n)
      local q, k, v = rapt.randn(2, 4, n, 16), rapt.randn(2, 2, n, 16), rapt.randn(2, 2, n, 8)
      local all_k, all_v = rapt.randn(2, 4, n, 16), rapt.randn(2, 4, n, 8)
      for _, causal in ipairs { true, false } do
        local attrs = { causal = causal }
        agrees("softmax", { q = q, k = k, v = v, bias = rapt.randn(1, 4, n, n) }, attrs)
        agrees("cog", { q = q, k = k, v = v }, attrs)
        agrees("ssa", { q = q, k = k, v = v, tau_q = rapt.rand(2, 4, n), tau_v = rapt.rand(2, 4, n) }, attrs)
        agrees("mta", { q = q, k = k, v = v, qk_kernel = rapt.randn(4, 3, 5),
          qk_kernel_post = rapt.randn(4, 2, 3), head_kernel = rapt.randn(2, 2, 2) }, attrs)
        agrees("flow", { q = q, k = all_k, v = all_v }, attrs)
      end
      agrees("softmax", { q = q, k = rapt.randn(2, 2, n + 3, 16), v = rapt.randn(2, 2, n + 3, 8) },
        { causal = true, scale = 0.3 })
      agrees("agent", { q = q, k = all_k, v = all_v, agent_bias = rapt.randn(4, 9, n),
        query_bias = rapt.randn(4, n, 9) }, { n_agents = 9 })
      agrees("agent", { q = q, k = all_k, v = all_v, agents = rapt.randn(2, 4, 5, 16) }, {})
      if n == 70 then agrees("agent", { q = q, k = all_k, v = all_v }, { n_agents = 9, grid = { 7, 10 } }) end
      agrees("lightning", { q = q, k = all_k, v = all_v, slope = rapt.rand(4) }, { scale = 0.5 })
      agrees("log_linear", { q = k, k = rapt.randn(2, 2, n, 16), v = all_v, g = -rapt.rand(2, 4, n),
        l = rapt.rand(2, 4, n, 9) }, {})
    end)
  end

  it("has a form of every operator that comes with rapt", function()
    for name in ("agent cog flow lightning log_linear mta softmax ssa"):gmatch("%S+") do
      assert.is_true(eager.knows(name), name)
    end
  end)
end)

describe("bench_all", function()
  local sweep = require "rapt.bench_all"

  local function few(request)
    request.seconds, request.peak_side, request.H = 0.001, 128, 2
    request.dims = { 16 }
    return sweep.run(request)
  end

  it("goes over operators, lengths and threads", function()
    local result = few { operators = { "softmax", "flow" }, lengths = { 16, 32 } }
    assert.same({ 16, 32 }, result.lengths)
    for i, run in ipairs(result.runs) do
      if i == 2 then assert.equal(1, run.threads) end
      local names = {}
      for j, row in ipairs(run.rows) do
        names[j] = row.operator .. " " .. tostring(row.causal) .. " " .. row.N
        for _, pass in ipairs { row.forward, row.forward_backward } do
          assert.is_true(pass.seconds > 0 and pass.extra_bytes >= 0)
          assert.near(pass.gflops / run.peak_gflops, pass.share_of_peak, 1e-9)
        end
      end
      assert.same({ "softmax true 16", "softmax true 32", "flow true 16", "flow true 32",
        "flow false 16", "flow false 32" }, names)
    end
    local text = tostring(result)
    for _, word in ipairs { "### softmax, causal", "### flow, full", "| 16 | 1 | 32 |", "of peak",
      "extra memory", "matrix product" } do
      assert.truthy(text:find(word, 1, true), word)
    end
  end)

  it("says which calls it left out and how long they would take", function()
    local result = few { operators = { "softmax" }, lengths = { 64, 65536 }, budget = 0.05,
      threads = "all" }
    assert.equal(1, #result.runs)
    local row = result.runs[1].rows[2]
    assert.is_true(row.forward.over_budget and row.forward.expected > 0.05)
    assert.is_nil(row.forward.seconds)
    assert.truthy(tostring(result):find("not run: about [%d.]+ "))
  end)

  it("writes JSON and Markdown", function()
    local folder = helper.folder()
    local status, out, err = helper.rapt(("bench --all --quick --lengths 16,32 --dims 8 -H 1 softmax "
      .. "--json '%s/a.json' --markdown '%s/a.md'"):format(folder, folder))
    assert.same({ 0, "" }, { status, out })
    assert.truthy(err:find("softmax D=8 N=32", 1, true), err)
    local json = require("cjson").decode(assert(io.open(folder .. "/a.json")):read("a"))
    assert.equal(2, #json.runs[1].rows)
    assert.equal("cpu", json.device)
    assert.truthy(json.date:find("^%d%d%d%d%-%d%d%-%d%d$"))
    local text = assert(io.open(folder .. "/a.md")):read("a")
    assert.truthy(text:find("### softmax, causal", 1, true))
    os.execute("rm -r '" .. folder .. "'")
  end)

  it("measures nothing whose figures cannot be written", function()
    for _, option in ipairs { "--json /dev/null/a", "--markdown /" } do
      local status, out, err = helper.rapt("bench --all --quick softmax " .. option)
      assert.same({ 1, "" }, { status, out })
      assert.truthy(err:find("^rapt: bench: cannot write /"), err)
      assert.falsy(err:find("softmax", 1, true), err)
    end
  end)

  it("refuses what does not go together", function()
    for _, arguments in ipairs { "--all -N 5", "--all --causal", "--all --eager", "--all --set scale=1",
      "--all --lengths 5,x", "--all --lengths 0", "--all --budget no", "--all --threads 3" } do
      local status, out, err = helper.rapt("bench " .. arguments)
      assert.same({ 2, "" }, { status, out }, arguments)
      assert.truthy(err:find("^rapt: "), err)
    end
    assert.equal(1, (helper.rapt("bench --all sotfmax")))
  end)
end)
