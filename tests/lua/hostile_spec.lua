-- Every function with arguments that nobody should give: an error of one line, or a result, and never
-- harm. The draws are the same each time.
local rapt = require "rapt"

local CALLS = 20000

local closed = rapt.zeros(2)
closed:close()

local function values()
  local q = rapt.randn(1, 2, 3, 4)
  local st = rapt.state("softmax", { q = q, k = q, v = q }, { causal = true })
  local loop = {}
  loop[1] = loop
  return {
    nil, true, false, 0, 1, 2, 3, -1, -2, 1.5, 0 / 0, 1 / 0, 1 << 62, math.mininteger, "", "f32", "cpu", "q",
    "softmax", "core.sum", "no such thing", "vulkan:99", "/nonexistent/x.npy", "/nonexistent/x.safetensors",
    ("x"):rep(3000), "\n\0", {}, { 1 }, { 2, 3 }, { 1, "x" }, { -1, 1 }, { q = q }, { q = q, k = q, v = q },
    { causal = true }, { dtype = "f16" }, { dtype = 5 }, { requires_grad = true }, { [q] = q },
      { returns = { "lse" } },
    { { 1, 2 }, { 3 } }, { { 1 }, 2 }, { dims = { 1 } }, { dim = 1 << 40 }, loop, setmetatable({},
      { __index = error }),
    q, q:transpose(2, 3), rapt.zeros(0, 3), rapt.tensor(1), rapt.tensor { 1, 2, 3 }, rapt.tensor({ 1, 0 },
      { dtype = "i64" }),
    rapt.tensor { true, false }, rapt.ones(2, 2, { requires_grad = true }), rapt.ones(3,
      { dtype = "f16" }), closed,
    st, print, io.stdout, coroutine.create(print),
    n = 59,
  }
end

-- What must not be called by chance: they wait, read much, or change the process.
local left_out = { measure = true, bench = true, viz = true, help = true, no_grad = true, load_plugin = true,
  reload = true }

local function collect()
  local functions = {}
  local function take(prefix, from)
    for name, f in pairs(from) do
      if type(f) == "function" and not left_out[name] then functions[#functions + 1] = { prefix .. name,
        f } end
    end
  end
  take("rapt.", rapt)
  take("t:", debug.getmetatable(closed).methods)
  take("t.", { index = debug.getmetatable(closed).__index, newindex = debug.getmetatable(closed).__newindex })
  for _, name in ipairs(rapt.operators("all")) do
    functions[#functions + 1] = { name, function(...) return rapt.call(name, ...) end }
    functions[#functions + 1] = { name, rapt.ops[name] }
  end
  local st = rapt.state("cog", { q = rapt.zeros(1, 1, 1, 1), k = rapt.zeros(1, 1, 1, 1),
    v = rapt.zeros(1, 1, 1, 1) }, { causal = true })
  for _, name in ipairs { "step", "fork", "truncate" } do functions[#functions + 1] = { name,
    st[name] } end
  table.sort(functions, function(a, b) return a[1] < b[1] end)
  return functions
end

describe("hostile arguments", function()
  it("are refused in one line", function()
    local functions = collect()
    local given, seed = values(), 12345
    local function draw(n)
      seed = (seed * 1103515245 + 12345) & 0x7fffffff
      return (seed >> 8) % n + 1
    end
    local failures, successes = 0, 0
    for call = 1, CALLS do
      local chosen = functions[draw(#functions)]
      local n = draw(4)
      local arguments = {}
      for i = 1, n do arguments[i] = given[draw(given.n)] end
      -- methods get a tensor most of the time
      if chosen[1]:find("^t[:.]") and draw(4) > 1 then arguments[1] = given[45 + draw(9)] end
      local ok, text = pcall(chosen[2], table.unpack(arguments, 1, n))
      if ok then
        successes = successes + 1
      else
        failures = failures + 1
        assert.is_string(text, chosen[1])
        assert.is_nil(text:find("\n", 1, true), chosen[1] .. ": " .. text)
        assert.is_true(#text > 5 and #text < 1200, text)
      end
      if call % 500 == 0 then
        collectgarbage()
        given = values()
      end
    end
    assert.is_true(failures > CALLS // 4 and successes > CALLS // 20, failures .. " " .. successes)
  end)
end)
