-- A device's self-test, which compares its kernels with the CPU's: in a process of its own, as asked for.
local helper = require "cli_helper"
local vulkan = require "vulkan_helper"

local modules = assert(os.getenv "RAPT_TEST_MODULES", "RAPT_TEST_MODULES must name the test plugins' folder")

-- What a program prints; `info()` is there, which gives the device's detail. `selftest`: as the environment
-- says it; `more`: before that, of the environment.
local function run(selftest, text, more)
  local folder = helper.folder()
  local path = folder .. "/selftest.lua"
  local file = assert(io.open(path, "w"))
  file:write(([[
    local rapt = require "rapt"
    local device, modules = %q, %q
    local function info()
      for _, info in ipairs(rapt.devices()) do
        if info.name == device then return info.detail end
      end
    end
    %s
    assert(rapt.vulkan.messages().count == 0)
  ]]):format(vulkan.device, modules, text))
  file:close()
  -- verdicts on kernels that are wrong are nobody else's
  local out = assert(io.popen(("%s XDG_CACHE_HOME='%s/selftest' RAPT_VULKAN_SELFTEST=%s '%s' run '%s' 2>&1")
    :format(more or "", os.getenv "XDG_CACHE_HOME", selftest, os.getenv "RAPT_BIN", path))):read("a")
  os.execute("rm -r '" .. folder .. "'")
  return out
end

describe("the self-test of a Vulkan device", function()
  it("passes operator by operator, is kept and is told", function()
    local text = [[
      local q = rapt.randn(1, 1, 4, 8, { device = device })
      rapt.ops.softmax{ q = q, k = q, v = q }
      rapt.ops.lightning{ q = q, k = q, v = q, slope = rapt.ones(1, { device = device }) }
      rapt.matmul(q, q:transpose(3, 4))
      q:to("f16"):requires_grad_():mul(2)
      print(info())
    ]]
    local function check(out)
      local all, golden = out:match("self%-test.*passed by (%d+) operators, (%d+) with golden vectors")
      assert.is_true(all and tonumber(all) >= 4, out)
      assert.is_true(tonumber(golden) >= 2, out) -- softmax and lightning
      assert.falsy(out:find("failed the self-test", 1, true), out)
      assert.falsy(out:find("warning", 1, true), out)
    end
    check(run("1", text))
    check(run("0", text)) -- the verdicts are there for the next process
  end)

  it("turns off a path that is wrong, for its operator alone", function()
    local text = [[
      rapt.load_plugin(modules .. "/crooked.so")
      local x = rapt.ones(2, 6, { device = device })
      local op = rapt.ops["test.crooked_half"]
      print(op{ x = x }:to("cpu")[1][1]:item(), op{ x = x:to("f16") }:to("cpu"):to("f32")[1][1]:item())
      print(rapt.explain("test.crooked_half", { x = x:to("f16") }))
      print(info())
    ]]
    local out = run("1", text)
    assert.truthy(out:find("warning: " .. vulkan.device .. " failed the self-test of test.crooked_half: f16: "
      .. "y is off by 0.25 of its greatest value", 1, true), out)
    assert.truthy(out:find("2.0\t2.0", 1, true), out) -- by the path that needs no 16-bit storage
    assert.truthy(out:find("paths are off, for they failed its self-test: f16", 1, true), out)
    assert.truthy(out:find("self%-test failed by [^\n]*test.crooked_half: f16"), out)
    assert.truthy(out:find("; f16 on", 1, true), out) -- for all others
    out = run("0", text)
    assert.truthy(out:find("2.0\t2.0", 1, true), out)
    assert.falsy(out:find("warning", 1, true), out)
  end)

  it("refuses an operator of which no path is right", function()
    local text = [[
      rapt.load_plugin(modules .. "/crooked.so")
      local x = rapt.ones(2, 6, { device = device })
      print(pcall(rapt.ops["test.crooked"], { x = x }))
      print(x:mul(2):to("cpu")[1][1]:item())
    ]]
    local out = run("1", text)
    assert.truthy(out:find("test.crooked: it is off on " .. vulkan.device .. " with f32, where it failed its "
      .. "self-test: plain: y is off by 0.5 of its greatest value", 1, true), out)
    assert.truthy(out:find("\n2.0\n", 1, true), out)
    assert.truthy(run("0", text):find("test.crooked: it is off", 1, true))
  end)

  it("has golden vectors that go by cooperative matrices, where an operator takes them", function()
    local out = run("0", ([[
      local cjson = require "cjson"
      for _, op in ipairs { "agent", "cog", "flow", "lightning", "log_linear", "mta", "softmax", "ssa" } do
        local path = ("%s/plugins/%%s/%%s.golden.safetensors"):format(op, op)
        local tensors = rapt.load(path)
        local call = cjson.decode(rapt.metadata(path).attrs)
        for _, input in ipairs(rapt.describe(op).inputs) do
          local x = tensors[input.name]
          call[input.name] = x and x:to(input.name == "slope" and "f32" or "f16"):to(device)
        end
        print(op, rapt.explain(op, call):match("(vulkan[%%w.]*): would run"))
      end
    ]]):format(helper.source), "env -u RAPT_VULKAN_SHARED RAPT_VULKAN_EMULATE_COOPMAT=1")
    for _, op in ipairs { "agent", "cog", "flow", "lightning", "mta", "softmax", "ssa" } do
      assert.truthy(out:find(op .. "\tvulkan.coopmat", 1, true), out)
    end
    assert.truthy(out:find("log_linear\tvulkan", 1, true), out)
  end)

  -- Calls a copy of the plugin, beside which `file` (statements in x and path) puts golden vectors.
  local function beside(file)
    local folder = helper.folder()
    os.execute(("cp '%s/crooked.so' '%s/'"):format(modules, folder))
    local out = run("1", ([[
      local folder = %q
      local x = rapt.randn(2, 6)
      local path = folder .. "/test.crooked_rows.golden.safetensors"
      %s
      rapt.load_plugin(folder .. "/crooked.so")
      local call = rapt.ops["test.crooked_rows"]
      local ok, message = pcall(call, { x = rapt.ones(2, 6, { device = device }) })
      print(ok, ok and "called" or message)
    ]]):format(folder, file))
    os.execute("rm -r '" .. folder .. "'")
    return out
  end

  it("knows from golden vectors beside a plugin what the CPU's example does not tell", function()
    local out = beside("")
    assert.truthy(out:find("true\tcalled", 1, true), out)
    out = beside [[rapt.save(path, { x = x, y = x:mul(2) }, { op = "test.crooked_rows" })]]
    assert.truthy(out:find("test.crooked_rows: it is off on " .. vulkan.device .. " with f32, where it "
      .. "failed its self-test: plain: y is off by 0.5 of its greatest value in a golden vector", 1, true),
      out)
  end)

  it("says what is wrong with golden vectors, and goes on without", function()
    local function check(file, why)
      local out = beside(file)
      assert.truthy(out:find(why, 1, true), out)
      assert.truthy(out:find("true\tcalled", 1, true), out)
    end
    check([[rapt.save(path, { x = x, y = x }, { op = "test.crooked_rows" })]],
      "test.crooked_rows: the CPU does not give its golden vectors: y is off by 1 of its greatest value")
    check([[x = x:reshape(12); rapt.save(path, { x = x, y = x }, { op = "test.crooked_rows" })]],
      "test.crooked_rows: the CPU does not give its golden vectors: test.crooked_rows: ")
    check([[rapt.save(path, { x = x, y = x:narrow(2, 1, 3) }, { op = "test.crooked_rows" })]],
      "test.crooked_rows: the CPU does not give its golden vectors: y is off by inf of its greatest")
    check([[rapt.save(path, { x = x }, { op = "test.crooked_rows" })]],
      "test.crooked_rows.golden.safetensors: has no y")
    check([[local f = io.open(path, "w"); f:write("{}"); f:close()]],
      "test.crooked_rows.golden.safetensors: is not a safetensors file")
  end)
end)
