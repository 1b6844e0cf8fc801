-- The Vulkan device as Lua sees it: moving, copying, errors, shaders of one's own. Under the validation
-- layers, which must stay silent.
local rapt = require "rapt"
local cli = require "cli_helper"
local vulkan = require "vulkan_helper"

local device = vulkan.device

local function same(a, b)
  local fine, err = rapt.allclose(a:to("cpu"), b:to("cpu"), { rtol = 0, atol = 0 })
  assert.is_true(fine, "greatest difference " .. tostring(err))
end

-- A program in a process of its own, with so many bytes to spend.
local function run(bytes, text, more)
  local folder = cli.folder()
  local path = folder .. "/budget.lua"
  local file = assert(io.open(path, "w"))
  file:write(('local rapt, device = require "rapt", %q\n'):format(device) .. text)
  file:close()
  local command = ("%sRAPT_VULKAN_MEMORY=%d '%s' run '%s' 2>&1"):format(more or "", bytes,
    os.getenv "RAPT_BIN", path)
  local out = assert(io.popen(command)):read("a")
  os.execute("rm -r '" .. folder .. "'")
  return out
end

describe("a tensor on a Vulkan device", function()
  it("comes back as it went", function()
    for _, dtype in ipairs { "f32", "f16", "bf16", "f64", "i32", "i64", "u8", "bool" } do
      local x = rapt.randint(0, 2, 3, 5, 7, { dtype = dtype })
      local there = x:to(device)
      assert.equal(device, there.device)
      assert.equal(dtype, there.dtype)
      same(x:to("f32"), there:to("cpu"):to("f32"))
    end
  end)

  it("is made there, filled and changed in dtype", function()
    same(rapt.zeros(3, 7, { device = device }), rapt.zeros(3, 7))
    same(rapt.full({ 5 }, 2.5, { device = device, dtype = "f16" }):to("f32"), rapt.full({ 5 }, 2.5))
    rapt.manual_seed(3)
    local here = rapt.randn(1000)
    rapt.manual_seed(3)
    local there = rapt.randn(1000, { device = device })
    same(here, there)
    same(here:to("bf16"):to("f32"), there:to("bf16"):to("f32"))
    same((here * 100):to("i64"):to("f32"), (there:to("cpu") * 100):to(device):to("i64"):to("f32"))
  end)

  it("gets the same random numbers there", function()
    local sizes = { 1, 3, 130, 1001 }
    local function draw(where)
      local drawn = {}
      rapt.manual_seed(0x123456789abc)
      for _, n in ipairs(sizes) do -- each begins where the last one ended, anywhere in a block
        for _, dtype in ipairs { "f32", "f16", "bf16", "f64" } do
          drawn[#drawn + 1] = rapt.randn(n, { dtype = dtype, device = where })
          drawn[#drawn + 1] = rapt.rand(n, { dtype = dtype, device = where })
          drawn[#drawn + 1] = rapt.randint(-99, 100, n, { dtype = dtype, device = where })
        end
        drawn[#drawn + 1] = rapt.randint(-1 << 31, 1 << 31, n, { dtype = "i32", device = where })
        drawn[#drawn + 1] = rapt.randint(-1 << 62, 1 << 62, n, { dtype = "i64", device = where })
        drawn[#drawn + 1] = rapt.randint(0, 256, n, { dtype = "u8", device = where })
        drawn[#drawn + 1] = rapt.randint(0, 2, n, { dtype = "bool", device = where })
      end
      return drawn
    end
    local there = draw(device)
    for i, here in ipairs(draw("cpu")) do assert.same(here:totable(), there[i]:totable()) end
    assert.same({ 0 }, rapt.randn(0, { device = device }).shape)
  end)

  it("is seen through views and made contiguous there", function()
    local x = rapt.randn(2, 3, 4, 5)
    local there = x:to(device)
    same(x:transpose(2, 4):contiguous(), there:transpose(2, 4):contiguous())
    same(x:permute(4, 2, 1, 3):reshape(5, 24), there:permute(4, 2, 1, 3):reshape(5, 24))
    same(x[{ 1, { 2, 3 } }]:contiguous(), there[{ 1, { 2, 3 } }]:contiguous())
    same(x[2]:transpose(1, 2), there[2]:transpose(1, 2):to("cpu"))
    same(x:narrow(3, 2, 2):expand(2, 3, 2, 5):clone(), there:narrow(3, 2, 2):clone())
  end)

  it("prints, and gives its elements", function()
    local there = rapt.tensor({ { 1, 2 }, { 3, 4 } }):to(device)
    assert.same({ { 1, 2 }, { 3, 4 } }, there:totable())
    assert.equal(4, there[2][2]:item())
    assert.truthy(tostring(there):find(device, 1, true))
  end)

  it("may have no element", function()
    local none = rapt.zeros(0, 3):to(device)
    assert.same({ 0, 3 }, none.shape)
    same(none:to("f16"):to("f32"), rapt.zeros(0, 3))
  end)

  it("carries gradients across devices", function()
    local x = rapt.randn(4):requires_grad_()
    local there = x:to(device)
    there:to("cpu"):backward(rapt.arange(0, 4))
    same(x.grad, rapt.arange(0, 4))
  end)

  it("stays in memory only as long as it is used", function()
    collectgarbage() collectgarbage()
    local before = rapt.memory().current
    for _ = 1, 50 do
      assert.equal("f16", rapt.zeros(1 << 18, { device = device }):to("f16").dtype)
    end
    collectgarbage() collectgarbage()
    assert.equal(before, rapt.memory().current)
  end)
end)

describe("the memory of a Vulkan device", function()
  it("holds what is still used; what Lua has dropped makes room", function()
    local out = run(40000000, [[
      for _ = 1, 40 do
        rapt.call("core.add", { a = rapt.zeros(1 << 20, { device = device }),
          b = rapt.zeros(1 << 20, { device = device }) })
      end
      print "survived"
    ]])
    assert.equal("survived\n", out)
  end)

  it("says what each shader took, if it is asked to count", function()
    local text = [[
      local x = rapt.randn(100, { device = device })
      for _ = 1, 300 do x:transpose(1, 1):to("f16") end
      for _, t in ipairs(rapt.vulkan.timings(device)) do print(t.name, t.dispatches, t.seconds > 0) end
      assert(rapt.vulkan.messages().count == 0)
    ]]
    local out = run(1 << 30, text, "RAPT_VULKAN_PROFILE=1 ")
    assert.truthy(out:find("device.copy\t300\ttrue", 1, true), out)
    assert.truthy(run(1 << 30, text):find("RAPT_VULKAN_PROFILE=1 has it do so", 1, true))
  end)

  it("says what is lacking, and stays of use", function()
    local out = run(20000000, [[
      local fine, err = pcall(rapt.zeros, 1 << 23, { device = device })
      print(fine, err)
      print(rapt.ones(3, { device = device }):to("cpu")[3]:item())
    ]])
    assert.truthy(out:find("false.*" .. device .. " is out of memory %(33554432 bytes wanted"), out)
    assert.truthy(out:find("RAPT_VULKAN_MEMORY", 1, true))
    assert.truthy(out:find("\n1.0\n", 1, true), out)
  end)
end)

describe("errors of a Vulkan device", function()
  it("name a device that is not there", function()
    assert.error_matches(function() rapt.zeros(2, { device = "vulkan:9" }) end,
      'no device "vulkan:9"; there are cpu')
    assert.error_matches(function() rapt.zeros(2):to("vulkan:x") end, "vulkan:x")
  end)

  it("name the tensors of a call over two devices", function()
    local a, b = rapt.zeros(2, 2), rapt.zeros(2, 2, { device = device })
    assert.error_matches(function() return rapt.matmul(a, b) end, "b is on " .. device .. " but a is on cpu")
  end)

  it("name the operator and the limit where a shader binds too many buffers", function()
    local out = run(1 << 30, [[
      local q = rapt.randn(1, 1, 4, 8, { device = device })
      print(pcall(rapt.ops.softmax, { q = q, k = q, v = q }))
      print(rapt.explain("softmax", { q = q, k = q, v = q }))
      local g = rapt.ones(8, { device = device }):requires_grad_()
      print(pcall(rapt.rms_norm, q, g))
      print((q * 0 + 3):sum():item())
      for _, info in ipairs(rapt.devices()) do print(info.detail) end
      assert(rapt.vulkan.messages().count == 0)
    ]], "RAPT_VULKAN_BUFFERS=6 ")
    assert.truthy(out:find("softmax: no kernel can run on " .. device .. " with f32: .*vulkan shader "
      .. "softmax.* binds %d+ storage buffers; " .. device .. " takes 6 in a shader"), out)
    assert.truthy(out:find("  vulkan: no: shader softmax", 1, true), out)
    assert.truthy(out:find("rms_norm: no kernel can run.* binds 8 storage buffers"), out)
    assert.truthy(out:find("\n96.0\n", 1, true), out)
    assert.truthy(out:find("a shader binds 6 buffers at most", 1, true), out)
  end)

  it("name the shader and the limit where it takes too much shared memory", function()
    local out = run(1 << 30, [[
      local function make(floats)
        return rapt.vulkan.compile("#version 450\nlayout(local_size_x = 64) in;\n"
          .. "layout(constant_id = 0) const uint ROWS = 1;\n"
          .. "layout(std430, binding = 0) buffer Y { float y[]; };\nshared float x[ROWS * 64];\n"
          .. "void main() { x[gl_LocalInvocationID.x] = 1.0; barrier(); y[0] = x[63]; }",
          { name = "mine", constants = { [0] = floats // 64 } })
      end
      local y = rapt.zeros(1, { device = device })
      make(4096)({ y }, { groups = { 1 } })
      print(y:item(), pcall(make(8192), { y }, { groups = { 1 } }))
      print(y:item())
      assert(rapt.vulkan.messages().count == 0)
    ]], "RAPT_VULKAN_SHARED=16384 ")
    assert.truthy(out:find("1.0\tfalse\t.*shader mine takes 32768 bytes of shared memory; " .. device
      .. " has 16384"), out)
    assert.truthy(out:find("\n1.0\n", 1, true), out)
    out = run(1 << 30, "rapt.zeros(2, { device = device })", "RAPT_VULKAN_SHARED=100 ")
    local refused = 'RAPT_VULKAN_SHARED is "100"; bytes from 16384 to 16777216 were expected'
    assert.truthy(out:find(refused, 1, true), out)
  end)

  it("refuse a tensor that no memory of the device holds", function()
    assert.error_matches(function() rapt.zeros(1 << 30, 1 << 20, { device = device, dtype = "u8" }) end,
      "greatest that this device can hold")
    same(rapt.ones(3):to(device), rapt.ones(3)) -- still of use
  end)
end)

describe("devices", function()
  it("are listed with what is on and why the rest is off", function()
    local info = vulkan.info()
    assert.is_true(info.available)
    assert.is_true(info.memory > 0)
    assert.truthy(info.detail:find("plain on", 1, true))
    for _, path in ipairs { "f16", "coopmat NV", "coopmat KHR", "coopmat bf16" } do
      assert.truthy(info.detail:match("; " .. path .. " on") or info.detail:match("; " .. path .. " off: %w"))
    end
  end)

  it("have a clock and rates", function()
    local before = rapt.device_seconds(device)
    rapt.zeros(1 << 20, { device = device }):to("f16")
    assert.is_true(rapt.device_seconds(device) > before)
    assert.is_nil(rapt.device_seconds("cpu"))
    assert.is_true(rapt.measure { copy = true, device = device } > 0)
    assert.is_true(rapt.measure { gemm = 64, device = device } > 0)
  end)
end)

local SCALE = [[
#version 450
layout(local_size_x = 64) in;
layout(constant_id = 0) const float FACTOR = 2;
layout(constant_id = 1) const int SHIFT = 0;
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };
layout(push_constant) uniform Push { uint n; float add; ivec2 more; };

void main()
{
    const uint i = gl_GlobalInvocationID.x;
    if (i < n)
        y[i] = FACTOR * x[i] + add + SHIFT + more.x * more.y;
}
]]

describe("rapt.vulkan.compile", function()
  it("makes a function of tensors", function()
    local scale = rapt.vulkan.compile(SCALE, { name = "scale" })
    assert.truthy(tostring(scale):find("readonly X, Y", 1, true))
    local x = rapt.randn(100)
    local y = rapt.zeros(100, { device = device })
    scale({ x:to(device), y }, { groups = 2, push = { n = 100, add = 0.5, more = { -2, 3 } } })
    local fine = rapt.allclose(y:to("cpu"), x * 2 + -5.5, { rtol = 1e-6, atol = 1e-6 })
    assert.is_true(fine)
  end)

  it("takes constants by their id", function()
    local x, y = rapt.ones(8, { device = device }), rapt.zeros(8, { device = device })
    for _, factor in ipairs { 3.0, 0.25 } do
      local scale = rapt.vulkan.compile(SCALE, { constants = { [0] = factor, [1] = 7 } })
      scale({ x, y }, { groups = { 1 }, push = { n = 8, add = 0, more = { 0, 0 } } })
      same(y, rapt.full({ 8 }, factor + 7))
    end
  end)

  it("gives the lines of a shader that does not compile", function()
    assert.error_matches(function()
      rapt.vulkan.compile("#version 450\nvoid main()\n{\n    nothing = 1;\n}\n", { name = "bad" })
    end, "bad:4: 'nothing' : undeclared identifier")
  end)

  it("refuses what cannot be run", function()
    local scale = rapt.vulkan.compile(SCALE)
    local x, y = rapt.ones(8, { device = device }), rapt.zeros(8, { device = device })
    local zero = { 0, 0 }
    local push = { n = 8, add = 0, more = zero }
    local turned = x:view(2, 4):transpose(1, 2)
    local function call(...)
      local arguments = table.pack(...)
      return function() scale(table.unpack(arguments, 1, arguments.n)) end
    end
    assert.error_matches(call({ x }, { groups = 1, push = push }), "a list of 2 tensors")
    assert.error_matches(call({ x, 3 }, { groups = 1, push = push }), "buffer 2 must be a tensor")
    assert.error_matches(call({ x, rapt.zeros(8) }, { groups = 1, push = push }), "buffer 2 is on cpu")
    assert.error_matches(call({ rapt.zeros(8), y }, { groups = 1, push = push }), "buffer 1 is on cpu")
    assert.error_matches(call({ turned, y }, { groups = 1, push = push }), "not contiguous")
    assert.error_matches(call({ x:narrow(1, 2, 4), y }, { groups = 1, push = push }), "begins 4 bytes into")
    assert.error_matches(call({ x, y }, { push = push }), "groups")
    assert.error_matches(call({ x, y }, { groups = 1.5, push = push }), "whole numbers")
    assert.error_matches(call({ x, y }, { groups = 1, push = { n = 8 } }), "'add' is missing")
    assert.error_matches(call({ x, y }, { groups = 1, push = { n = 8, add = 0, more = 1 } }), "2 numbers")
    assert.error_matches(call({ x, y }, { groups = 1, push = { n = 0.5, add = 0, more = zero } }), "uint")
    assert.error_matches(function() rapt.vulkan.compile(SCALE, { constants = { [5] = 1 } }) end,
      "no constant 5")
    assert.error_matches(function() rapt.vulkan.compile("#version 450\nvoid main() {}") end, "no buffer")
    assert.error_matches(function()
      rapt.vulkan.compile("#version 450\nlayout(binding = 0) uniform U { float x; };\n"
        .. "layout(binding = 1) buffer B { float y; };\nvoid main() { y = x; }")
    end, "no storage buffer")
  end)

  it("does not write what is part of a graph", function()
    local scale = rapt.vulkan.compile(SCALE)
    local y = rapt.zeros(8, { device = device }):requires_grad_()
    assert.error_matches(function()
      scale({ y:detach(), y }, { groups = 1, push = { n = 8, add = 0, more = { 0, 0 } } })
    end, "buffer 2")
  end)

  it("names a feature that the device lacks", function()
    local code = "#version 450\n#extension GL_NV_cooperative_matrix : require\n"
      .. "#extension GL_KHR_memory_scope_semantics : require\n"
      .. "#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require\n"
      .. "layout(local_size_x = 32) in;\nlayout(binding = 0) buffer X { float x[]; };\n"
      .. "void main() { fcoopmatNV<32, gl_ScopeSubgroup, 16, 16> m;\n"
      .. "coopMatLoadNV(m, x, 0, 16, false); coopMatStoreNV(m, x, 0, 16, false); }"
    local shader = rapt.vulkan.compile(code)
    if not vulkan.has "coopmat NV" then
      assert.error_matches(function() shader({ rapt.zeros(256, { device = device }) }, { groups = 1 }) end,
        "lacks or has off")
    end
  end)
end)

describe("the validation layers", function()
  it("said nothing", function()
    vulkan.assert_silent()
  end)
end)
