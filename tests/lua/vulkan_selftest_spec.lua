-- A device's self-test, which compares its kernels with the CPU's: in a process of its own, as asked for.
local helper = require "cli_helper"
local vulkan = require "vulkan_helper"

describe("the self-test of a Vulkan device", function()
  it("passes on every path, is kept and is told", function()
    local folder = helper.folder()
    local path = folder .. "/selftest.lua"
    local file = assert(io.open(path, "w"))
    file:write(([[
      local rapt = require "rapt"
      local q = rapt.randn(1, 1, 4, 8, { device = %q })
      rapt.ops.softmax{ q = q, k = q, v = q }
      for _, info in ipairs(rapt.devices()) do
        if info.name == %q then print(info.detail) end
      end
      assert(rapt.vulkan.messages().count == 0)
    ]]):format(vulkan.device, vulkan.device))
    file:close()
    local command = ("RAPT_VULKAN_SELFTEST=%s '%s' run '%s' 2>&1")
    local program = os.getenv "RAPT_BIN"
    local out = assert(io.popen(command:format("1", program, path))):read("a")
    assert.truthy(out:find("self-test passed", 1, true), out)
    assert.falsy(out:find("failed its self-test", 1, true), out)
    -- the verdict is there for the next process
    out = assert(io.popen(command:format("0", program, path))):read("a")
    assert.truthy(out:find("self-test passed", 1, true), out)
    os.execute("rm -r '" .. folder .. "'")
  end)
end)
