-- Lua's collector sees little of a tensor's memory: the binding steers it.
local rapt = require "rapt"
local helper = require "cli_helper"

local MiB = 1 << 20

describe("memory", function()
  it("stays bounded over many small calls", function()
    collectgarbage()
    local before = rapt.memory("reset").current
    local x = rapt.randn(1000)
    for _ = 1, 10000 do x = x * 0.5 + x * 0.5 end
    assert.is_true(rapt.memory().peak - before < 48 * MiB)
    collectgarbage()
    assert.is_true(rapt.memory().current - before < MiB)
  end)

  it("stays bounded over large tensors", function()
    collectgarbage()
    local before = rapt.memory("reset").current
    for _ = 1, 100 do rapt.zeros(4, 1024, 1024) end
    assert.is_true(rapt.memory().peak - before < 80 * MiB)
  end)

  it("stays bounded in a training loop", function()
    local w = rapt.randn(256, 256, { requires_grad = true })
    local function step()
      local h = rapt.randn(64, 256)
      for _ = 1, 4 do h = rapt.matmul(h, w):tanh() end
      local loss = (h * h):mean()
      loss:backward()
      rapt.no_grad(function() w:copy_(w:detach() - w.grad * 0.1) end)
      w:zero_grad()
      return loss:item()
    end
    step()
    collectgarbage()
    local before = rapt.memory("reset").current
    for _ = 1, 300 do step() end
    assert.is_true(rapt.memory().peak - before < 64 * MiB)
    collectgarbage()
    assert.is_true(rapt.memory().current - before < 4 * MiB)
  end)

  it("does not run the collector that the program has stopped", function()
    collectgarbage()
    collectgarbage("stop")
    local before = rapt.memory().current
    for _ = 1, 20 do rapt.zeros(1024, 1024) end
    local after = rapt.memory().current
    collectgarbage("restart")
    assert.is_true(after - before >= 80 * MiB)
    collectgarbage()
  end)

  it("comes back at once from what is closed", function()
    collectgarbage()
    local before = rapt.memory().current
    local t = rapt.zeros(1024, 1024)
    assert.is_true(rapt.memory().current - before >= 4 * MiB)
    t:close()
    assert.is_true(rapt.memory().current - before < MiB)
  end)

  it("survives the end of the interpreter in any order", function()
    -- tensors, states and graphs alive at exit: run by a fresh interpreter
    local code = [[
      local rapt = require "rapt"
      q = rapt.randn(1, 1, 4, 4, {requires_grad = true})
      y = (q * q):sum()
      st = rapt.state("softmax", {q = q:detach(), k = q:detach(), v = q:detach(), causal = true})
      setmetatable({}, {__gc = function() print(pcall(rapt.zeros, 2)) end})
      keep = setmetatable({}, {__gc = function() pcall(function() return y:item() end) end})
    ]]
    local name = os.tmpname()
    local file = assert(io.open(name, "w"))
    file:write(code)
    file:close()
    -- Lua never frees what a finalizer makes while the state closes: no leak of ours
    local ok, how, status = os.execute("ASAN_OPTIONS=detect_leaks=0 lua5.4 " .. name .. " > /dev/null")
    os.remove(name)
    assert.is_true(ok, ("%s %s"):format(how, status))
  end)

  -- A sanitizer needs more address space than such a limit leaves.
  if not (os.getenv("LD_PRELOAD") or ""):find("libasan", 1, true) then
    it("that matrix products cannot have is an error, not an endless wait", function()
      local script = os.tmpname()
      local handle = assert(io.open(script, "w"))
      handle:write('local rapt = require "rapt" local a = rapt.ones(300, 300) ',
        'print(rapt.matmul(a, a):sum():item())')
      handle:close()
      local function run(kilobytes)
        local pipe = io.popen(("ulimit -v %d; exec timeout 60 '%s' run '%s' 2>&1"):format(kilobytes,
          helper.binary, script))
        local text = pipe:read("a")
        local _, _, status = pipe:close()
        return status, text
      end
      for _, kilobytes in ipairs { 120000, 200000, 300000 } do
        local status, text = run(kilobytes)
        assert.equal(1, status, text)
        assert.truthy(text:find("core.matmul: out of memory", 1, true), text)
      end
      local status, text = run(4000000)
      os.remove(script)
      assert.equal(0, status, text)
      assert.equal("27000000.0\n", text)
    end)
  end
end)
