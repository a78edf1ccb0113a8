"""An AgentScope agent whose answers are spoken by the fleet."""

import asyncio
import os

from agentscope.agent import ReActAgent
from agentscope.formatter import DashScopeChatFormatter
from agentscope.message import Msg
from agentscope.model import DashScopeChatModel

from speechfleet.integrations.agentscope import FleetTTSModel

agent = ReActAgent(
    name="assistant",
    sys_prompt="You answer in two sentences.",
    model=DashScopeChatModel("qwen-plus", os.environ["DASHSCOPE_API_KEY"]),
    formatter=DashScopeChatFormatter(),
    tts_model=FleetTTSModel("dashscope/qwen3-tts-flash-realtime", voice="Cherry"),
)
asyncio.run(agent(Msg("user", "What is a fleet?", "user")))
